// The filter of a page in a folder, where no database is: words of the caption, and comparisons joined by AND.
const NAME = String.raw`(?:"((?:[^"]|"")+)"|(\w+))`;
const TERM = new RegExp(String.raw`^${NAME}\s*(>=|<=|<>|!=|=|<|>)\s*('(?:[^']|'')*'|-?[\d.]+(?:e[+-]?\d+)?)$`, "i");
const EMPTY = new RegExp(`^${NAME}\\s+IS\\s+(NOT\\s+)?NULL$`, "i");
const PARTS = /(?<!\w)'(?:[^']|'')*'|"(?:[^"]|"")*"|\s+AND\s+|[^]/gi;  // texts and names, what joins, any other sign
const TEXT = /(?<!\w)'(?:[^']|'')*'/g;
const SQL = "BETWEEN|I?LIKE|IN|OR|NOT";

export function filter(text, columns) {  // a function from a sample's values to whether it is wanted
  const tests = terms(text, false).map(term => test(term, columns));
  return values => tests.every(one => one(values));
}

// A filter and one condition more: comparisons of that column that it had no longer count. With words it is a folder's;
// else it is SQL, which has more than a page can read: what is not plain stays whole, in parentheses.
export function narrowed(where, condition, column, words) {
  const said = terms(where, !words), simple = term => TERM.test(term) || EMPTY.test(term) || grouped(term);
  const plain = words || !/--|\/\*/.test(where) && said.every(simple);
  if (!plain) return `(${where}\n) AND ${condition}`;  // the line break ends a comment
  return [...said.filter(term => about(term) !== column.toLowerCase()), condition].join(" AND ");
}

function terms(text, nested) {  // what AND joins, outside of texts; with nested also outside of parentheses
  const found = [""];
  let depth = 0;
  for (const [part] of text.matchAll(PARTS)) {
    if (nested) depth += (part === "(") - (part === ")");
    if (depth === 0 && /^\s+AND\s+$/i.test(part)) found.push("");
    else found[found.length - 1] += part;
  }
  return found.map(term => term.trim()).filter(Boolean);
}

function about(term) {
  const match = TERM.exec(term) || EMPTY.exec(term);
  return match && named(match).toLowerCase();
}

function named([, quoted, plain]) { return quoted === undefined ? plain : quoted.replaceAll('""', '"'); }

function grouped(term) {  // whether it is one pair of parentheses with what is in them
  let bare = term.replace(TEXT, "");
  for (let before = ""; before !== bare;) [before, bare] = [bare, bare.replace(/\([^()]*\)/g, "")];
  return term.startsWith("(") && !bare.trim();
}

function test(term, columns) {
  const empty = EMPTY.exec(term);
  if (empty) {
    const name = known(named(empty), columns);
    return values => (values[name] === undefined) !== Boolean(empty[3]);
  }
  const match = TERM.exec(term);
  if (!match) {
    const help = "Write words, or e.g. quality > 0.5 AND motion < 0.1", word = keyword(term);
    if (word) throw new Error(`${word} is not known here. ${help}`);
    if (/[<>=]/.test(term)) throw new Error(`cannot read '${term}'. ${help}`);
    const words = term.toLowerCase().split(/\s+/);
    return values => words.every(word => String(values.caption || "").toLowerCase().includes(word)
                                         || String(values.sample_id).startsWith(word));
  }
  const name = known(named(match), columns), sign = match[3];
  const than = match[4][0] === "'" ? match[4].slice(1, -1).replaceAll("''", "'") : Number(match[4]);
  return values => {
    const value = values[name];
    if (value === undefined || typeof value !== typeof than) return false;
    if (sign === ">") return value > than;
    if (sign === "<") return value < than;
    if (sign === ">=") return value >= than;
    if (sign === "<=") return value <= than;
    return (value === than) === (sign === "=");
  };
}

function keyword(term) {  // one of SQL that a folder's page cannot do; in small letters it may be a caption's word
  const bare = term.replace(TEXT, "''");
  const sure = /[<>=]|\b(BETWEEN|I?LIKE|IN)\s*''|\bIN\s*\(|^\S+\s+(NOT\s+)?(BETWEEN|I?LIKE|IN)\s+[-.\d]/i.test(bare);
  return new RegExp(`\\b(${SQL})\\b`, sure ? "i" : "").exec(bare)?.[1].toUpperCase();
}

function known(name, columns) {
  if (!columns.includes(name)) throw new Error(`unknown column '${name}'. Columns: ${columns.join(", ")}`);
  return name;
}
