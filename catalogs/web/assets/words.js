// The filter of a page in a folder, where no database is: words of the caption, and comparisons joined by AND.
const TERM = /^"?(\w+)"?\s*(>=|<=|<>|!=|=|<|>)\s*('(?:[^']|'')*'|-?[\d.]+(?:e[+-]?\d+)?)$/i;
const EMPTY = /^"?(\w+)"?\s+IS\s+(NOT\s+)?NULL$/i;

export function filter(text, columns) {  // a function from a sample's values to whether it is wanted
  const tests = text.split(/\s+AND\s+/i).map(term => term.trim()).filter(Boolean).map(term => test(term, columns));
  return values => tests.every(one => one(values));
}

function test(term, columns) {
  const empty = EMPTY.exec(term);
  if (empty) return values => (values[known(empty[1], columns)] === undefined) !== Boolean(empty[2]);
  const match = TERM.exec(term);
  if (!match) {
    if (/[<>=]/.test(term)) throw new Error(`cannot read '${term}'. Write words, or e.g. quality > 0.5 AND motion < 0.1`);
    const words = term.toLowerCase().split(/\s+/);
    return values => words.every(word => String(values.caption || "").toLowerCase().includes(word)
                                         || String(values.sample_id).startsWith(word));
  }
  const name = known(match[1], columns), sign = match[2];
  const than = match[3][0] === "'" ? match[3].slice(1, -1).replaceAll("''", "'") : Number(match[3]);
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

function known(name, columns) {
  if (!columns.includes(name)) throw new Error(`unknown column '${name}'. Columns: ${columns.join(", ")}`);
  return name;
}
