"""What a scene shows, as a sentence or two; the camera is not mentioned."""

from __future__ import annotations

from renderers.scenes.bake import objects
from renderers.scenes.palette import word
from renderers.scenes.spec import Edit, Object, Person, SceneSpec, Texture

PLACES = {
    "city": "In a city",
    "courtyard": "In a courtyard",
    "forest": "In a forest",
    "interior": "In a bright interior",
    "night": "At night",
    "studio": "In a studio",
    "sunrise": "At sunrise",
    "sunset": "At sunset",
}

THINGS = {"sphere": "ball", "torus": "ring"}

PATTERNS = {
    "noise": "mottled",
    "checker": "chequered",
    "brick": "brick-patterned",
    "voronoi": "cell-patterned",
    "wave": "striped",
}

MOTIONS = {
    "slide": "slides to and fro",
    "circle": "moves in a circle",
    "spin": "spins",
    "bounce": "bounces",
    "swing": "swings",
}

ACTIONS = {
    "walk": "walks",
    "wave": "waves",
    "turn": "turns around",
    "squat": "does squats",
    "run": "runs",
    "jump": "jumps",
    "dance": "dances",
    "box": "boxes",
    "kick": "kicks",
    "punch": "punches",
    "throw": "throws something",
    "climb": "climbs",
    "sit": "sits",
    "crawl": "crawls",
    "bow": "bows",
    "point": "points",
    "pick": "picks something up",
}
"""What people do, by words in the names of performances; the first that occurs."""


def caption(spec: SceneSpec, edit: Edit | None = None) -> str:
    """Describe a scene after an edit: place, people and what they do, objects.

    Raises:
        ValueError: The edit does not fit the scene.
    """
    place = f"{PLACES.get(spec.world.hdri, 'Outside')}, on {_surface(spec.ground)} ground"
    people = [_person(person) for person in spec.people]
    things = [_thing(thing) for _, thing in objects(spec, edit)]
    if not people and not things:
        return f"{place}, there is nothing."
    verb = "is" if len(things) == 1 else "are"
    if not people:
        return f"{place}, there {verb} {_listed(things)}."
    first = f"{place}, {_listed(people)}."
    return f"{first} There {verb} also {_listed(things)}." if things else first


def _person(person: Person) -> str:
    name = person.performance.name.lower()
    action = next((action for key, action in ACTIONS.items() if key in name), "moves around")
    top, trousers = _surface(person.top), _surface(person.trousers)
    return f"a person in {_article(top)} top and {trousers} trousers {action}"


def _thing(thing: Object) -> str:
    largest = max(thing.size)
    size = "small " if largest < 0.35 else "large " if largest > 1.1 else ""
    named = _article(f"{size}{_surface(thing.texture)} {THINGS.get(thing.shape, thing.shape)}")
    moving = MOTIONS.get(thing.motion.kind)
    return f"{named} that {moving}" if moving else named


def _surface(texture: Texture) -> str:
    """Its colour words and pattern, such as ``red and white striped``."""
    first, second = word(texture.a), word(texture.b)
    metal = "metallic " if texture.metallic > 0.5 else ""
    if texture.kind == "plain":
        return metal + first
    colours = first if first == second else f"{first} and {second}"
    return f"{metal}{colours} {PATTERNS[texture.kind]}"


def _article(words: str) -> str:
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
