"""Captions of the demo world in many phrasings, some of them partial, and the tokenizer that reads them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

MAX_TOKENS = 64

OBJECT_NAMES: tuple[tuple[str, ...], ...] = (
    ("ball", "ball", "ball", "beach ball", "sphere"),
    ("box", "box", "box", "gift box", "present", "gift", "cube", "crate"),
    ("triangle", "triangle", "pyramid"),
    ("star", "star", "star", "five pointed star"),
    ("heart", "heart", "heart shape"),
    ("sun", "sun", "smiling sun"),
    ("moon", "moon", "crescent moon", "crescent", "half moon"),
    ("boat", "boat", "boat", "sailboat", "sailing boat", "ship", "sail boat", "yacht"),
    ("bird", "bird", "little bird", "songbird", "sparrow"),
    ("balloon", "balloon", "party balloon", "air balloon"),
    ("fish", "fish", "goldfish shape", "tropical fish"),
    ("rocket", "rocket", "rocket ship", "spaceship", "space rocket"),
)

COLOR_NAMES: tuple[tuple[str, ...], ...] = (
    ("red", "red", "red", "bright red", "crimson", "scarlet", "dark red"),
    ("orange", "orange", "orange", "bright orange", "tangerine"),
    ("yellow", "yellow", "yellow", "bright yellow", "lemon yellow", "golden yellow"),
    ("green", "green", "green", "bright green", "emerald", "emerald green"),
    ("blue", "blue", "blue", "bright blue", "deep blue", "dark blue", "royal blue"),
    ("purple", "purple", "purple", "violet", "deep purple", "lilac"),
    ("white", "white", "white", "pure white", "snow white", "bright white"),
    ("pink", "pink", "pink", "hot pink", "rose pink", "bright pink", "magenta"),
)

# (third person, gerund, base form)
MOTION_VERBS: tuple[tuple[tuple[str, str, str], ...], ...] = (
    tuple(
        (f"{third} {where}", f"{gerund} {where}", f"{base} {where}")
        for third, gerund, base in (
            ("moves", "moving", "move"), ("moves", "moving", "move"), ("goes", "going", "go"), ("drifts", "drifting", "drift"),
            ("flies", "flying", "fly"), ("floats", "floating", "float"), ("slides", "sliding", "slide"),
            ("travels", "travelling", "travel"), ("glides", "gliding", "glide"), ("sails", "sailing", "sail"),
            ("swims", "swimming", "swim"), ("rolls", "rolling", "roll"),
        )
        for where in ("left", "to the left", "left", "leftwards", "from right to left", "towards the left")
    ),
    tuple(
        (f"{third} {where}", f"{gerund} {where}", f"{base} {where}")
        for third, gerund, base in (
            ("moves", "moving", "move"), ("moves", "moving", "move"), ("goes", "going", "go"), ("drifts", "drifting", "drift"),
            ("flies", "flying", "fly"), ("floats", "floating", "float"), ("slides", "sliding", "slide"),
            ("travels", "travelling", "travel"), ("glides", "gliding", "glide"), ("sails", "sailing", "sail"),
            ("swims", "swimming", "swim"), ("rolls", "rolling", "roll"),
        )
        for where in ("right", "to the right", "right", "rightwards", "from left to right", "towards the right")
    ),
    (
        ("moves up", "moving up", "move up"), ("moves up", "moving up", "move up"), ("rises", "rising", "rise"),
        ("rises up", "rising up", "rise up"), ("goes up", "going up", "go up"), ("flies up", "flying up", "fly up"),
        ("flies upwards", "flying upwards", "fly upwards"), ("floats up", "floating up", "float up"),
        ("floats upward", "floating upward", "float upward"), ("moves upwards", "moving upwards", "move upwards"),
        ("climbs", "climbing", "climb"), ("ascends", "ascending", "ascend"), ("lifts off", "lifting off", "lift off"),
        ("takes off", "taking off", "take off"), ("soars up", "soaring up", "soar up"),
        ("shoots up", "shooting up", "shoot up"), ("drifts up", "drifting up", "drift up"),
    ),
    (
        ("moves down", "moving down", "move down"), ("moves down", "moving down", "move down"), ("falls", "falling", "fall"),
        ("falls down", "falling down", "fall down"), ("goes down", "going down", "go down"), ("sinks", "sinking", "sink"),
        ("drops", "dropping", "drop"), ("descends", "descending", "descend"), ("floats down", "floating down", "float down"),
        ("moves downwards", "moving downwards", "move downwards"), ("flies down", "flying down", "fly down"),
        ("drifts downward", "drifting downward", "drift downward"), ("sets", "setting", "set"), ("lands", "landing", "land"),
    ),
    (
        ("bounces", "bouncing", "bounce"), ("bounces", "bouncing", "bounce"), ("bounces", "bouncing", "bounce"),
        ("bounces up and down", "bouncing up and down", "bounce up and down"), ("hops", "hopping", "hop"),
        ("jumps", "jumping", "jump"), ("jumps up and down", "jumping up and down", "jump up and down"),
        ("hops up and down", "hopping up and down", "hop up and down"), ("leaps", "leaping", "leap"),
    ),
    (
        ("circles", "circling", "circle"), ("circles", "circling", "circle"),
        ("moves in a circle", "moving in a circle", "move in a circle"), ("flies in circles", "flying in circles", "fly in circles"),
        ("moves in circles", "moving in circles", "move in circles"), ("goes in circles", "going in circles", "go in circles"),
        ("goes round and round", "going round and round", "go round and round"), ("orbits", "orbiting", "orbit"),
        ("flies in a circle", "flying in a circle", "fly in a circle"), ("loops around", "looping around", "loop around"),
        ("circles around", "circling around", "circle around"),
    ),
    (
        ("spins", "spinning", "spin"), ("spins", "spinning", "spin"), ("rotates", "rotating", "rotate"),
        ("spins around", "spinning around", "spin around"), ("turns around", "turning around", "turn around"),
        ("twirls", "twirling", "twirl"), ("whirls", "whirling", "whirl"), ("spins in place", "spinning in place", "spin in place"),
        ("rotates slowly", "rotating slowly", "rotate slowly"), ("turns", "turning", "turn"), ("tumbles", "tumbling", "tumble"),
    ),
    (
        ("grows", "growing", "grow"), ("grows", "growing", "grow"), ("grows bigger", "growing bigger", "grow bigger"),
        ("gets bigger", "getting bigger", "get bigger"), ("grows larger", "growing larger", "grow larger"),
        ("becomes bigger", "becoming bigger", "become bigger"), ("gets larger", "getting larger", "get larger"),
        ("expands", "expanding", "expand"), ("comes closer", "coming closer", "come closer"),
        ("swells", "swelling", "swell"), ("inflates", "inflating", "inflate"),
    ),
    (
        ("shrinks", "shrinking", "shrink"), ("shrinks", "shrinking", "shrink"), ("gets smaller", "getting smaller", "get smaller"),
        ("becomes smaller", "becoming smaller", "become smaller"), ("grows smaller", "growing smaller", "grow smaller"),
        ("shrinks away", "shrinking away", "shrink away"), ("contracts", "contracting", "contract"),
        ("moves away", "moving away", "move away"), ("deflates", "deflating", "deflate"),
    ),
    (
        ("stays still", "staying still", "stay still"), ("stays still", "staying still", "stay still"),
        ("stands still", "standing still", "stand still"), ("does not move", "not moving", "not move"),
        ("rests", "resting", "rest"), ("is still", "being still", "be still"), ("is motionless", "motionless", "be motionless"),
        ("hovers in place", "hovering in place", "hover in place"), ("stays in place", "staying in place", "stay in place"),
        ("stands motionless", "standing motionless", "stand motionless"), ("sits still", "sitting still", "sit still"),
        ("keeps still", "keeping still", "keep still"), ("hangs still", "hanging still", "hang still"),
    ),
)  # fmt: skip

PLACE_PHRASES: tuple[tuple[str, ...], ...] = (
    (
        "in a day sky", "in the day sky", "in a blue sky", "in the blue sky", "in the sky", "against a bright sky", "in the daytime sky",
        "in a sunny sky", "high in the sky", "among the clouds", "in a cloudy blue sky", "in the sky by day", "day sky", "blue sky",
        "in broad daylight", "in the clouds", "across a blue sky", "on a sunny day", "in a clear sky", "against white clouds",
    ),
    (
        "in the night sky", "in a night sky", "at night", "under the stars", "in a starry sky", "in a night sky with stars",
        "among the stars", "in a starry night", "night sky with stars", "night sky", "in the dark sky", "across the night sky",
        "on a starry night", "in space", "during the night", "against the stars", "under a starry sky", "at midnight",
    ),
    (
        "over the sea", "on the sea", "at sea", "by the sea", "above the ocean", "on the ocean", "over the ocean", "over the water",
        "on the water", "above the waves", "on blue waves", "in the sea", "sea", "across the sea", "over a calm sea", "in the ocean",
        "at the seaside", "on the waves", "above the sea", "ocean", "over the blue sea", "across the water",
    ),
    (
        "over green hills", "on green hills", "above green hills", "in the green hills", "over the hills", "over grassy hills",
        "in a green meadow", "in the countryside", "above rolling hills", "green hills", "on a green hill", "across the hills",
        "over green fields", "on the grass", "in a green landscape", "among green hills", "in the hills", "over rolling green hills",
        "above the green hills", "in a meadow", "across green hills",
    ),
    (
        "in the desert", "over the desert", "in a desert", "above sand dunes", "over the dunes", "on the sand", "across the desert",
        "in a sandy desert", "over desert dunes", "desert", "among the dunes", "in the hot desert", "on desert sand", "above the desert",
        "in the sahara", "over sand dunes", "on a sand dune",
    ),
    (
        "in the snow", "over the snow", "on the snow", "in a snowy landscape", "in a winter landscape", "over a snowy field",
        "in falling snow", "snow", "above the snow", "in snowy hills", "across the snow", "on a snowy day", "in winter", "over snow",
        "in a snowy forest", "while it snows", "on snowy ground", "over snowy hills", "in a snowy field", "snowy landscape",
    ),
)  # fmt: skip

LOOK_PHRASES: tuple[tuple[str, ...], ...] = (
    (),
    ("golden hour", "golden hour light", "at golden hour", "warm sunset light", "at sunset", "warm golden light"),
    ("black and white film noir", "film noir", "black and white", "in black and white", "noir", "monochrome"),
    ("vintage sepia film", "vintage film", "sepia", "old sepia film", "in sepia", "retro film"),
    ("soft pastel colours", "pastel colours", "pastel colors", "in soft pastels", "pastel"),
    ("cool moonlight", "in moonlight", "moonlit", "cool blue moonlight", "blue hour"),
    ("comic book style", "comic style", "comic book", "cartoon outlines", "as a comic", "cartoon style"),
)

TEMPLATES = (
    "{a} {thing} {third} {place}",
    "{a} {thing} {third} {place}",
    "{a} {thing} {third} {place}",
    "{a} {thing} {gerund} {place}",
    "{a} {thing} is {gerund} {place}",
    "{a} {thing} {place} {third}",
    "{a} {thing} {place} is {gerund}",
    "{a} {thing} {place}, {gerund}",
    "{place}, {a} {thing} {third}",
    "{place} {a} {thing} {third}",
    "{place}, {a} {thing} is {gerund}",
    "{thing}, {gerund}, {place}",
    "{thing} {gerund} {place}",
    "{gerund} {thing} {place}",
    "{place}, {gerund} {thing}",
    "{thing} {third} {place}",
    "watch {a} {thing} {base} {place}",
    "there is {a} {thing} {place}, it {third}",
    "{a} {thing} that {third} {place}",
    "{a} {thing} {place}. it {third}",
    "{a} {thing} {place}. the {noun} {third}",
)
MOTION_ONLY = ("it {third}", "the {noun} {third}", "{gerund}", "the {thing} {third}", "it is {gerund}", "the {noun} is {gerund}")
OPENINGS = ("a video of", "a clip of", "video of", "an animation of", "a short film of", "cinematic shot of", "a scene with", "we see")
ADJECTIVES = ("big", "small", "shiny", "little", "cute", "large", "tiny", "beautiful", "glossy", "round", "lovely", "single", "lone")
ADVERBS = ("slowly", "quickly", "gently", "softly", "fast", "smoothly", "steadily", "happily", "gracefully", "quietly")
FILLER = ("high quality", "4k", "detailed", "cinematic", "beautiful", "masterpiece", "smooth motion", "sharp focus", "in the distance")
UNKNOWN = "<unk>"


@dataclass(frozen=True)
class SceneWords:
    """Vocabulary indices of one scene."""

    obj: int
    color: int
    motion: int
    place: int
    look: int


def caption(scene: SceneWords, rng: random.Random, given_image: bool = False) -> str:
    """One way to say the scene. Now and then something is left unsaid, or said with words that carry nothing."""
    third, gerund, base = rng.choice(MOTION_VERBS[scene.motion])
    noun = rng.choice(OBJECT_NAMES[scene.obj])
    color = rng.choice(COLOR_NAMES[scene.color])
    place = rng.choice(PLACE_PHRASES[scene.place])
    if rng.random() < 0.06:
        color = ""
    if rng.random() < 0.07:
        place = ""
    if rng.random() < 0.05:
        noun = rng.choice(("object", "thing", "shape"))
    if rng.random() < 0.12:
        color = f"{rng.choice(ADJECTIVES)} {color}"
    if rng.random() < 0.12:
        adverb = rng.choice(ADVERBS)
        third, gerund, base = rng.choice(((f"{adverb} {third}", f"{adverb} {gerund}", f"{adverb} {base}"),
                                          (f"{third} {adverb}", f"{gerund} {adverb}", f"{base} {adverb}")))  # fmt: skip
    template = rng.choice(MOTION_ONLY if given_image and rng.random() < 0.35 else TEMPLATES)
    if rng.random() < 0.05:
        template = rng.choice(("{a} {thing} {place}", "{thing}, {place}", "{a} {thing}"))
    article = rng.choice(("a", "a", "the", "one"))
    text = template.format(a=article, thing=f"{color} {noun}", noun=noun, third=third, gerund=gerund, base=base, place=place)
    return _dress(text, scene.look, rng)


def _dress(text: str, look: int, rng: random.Random) -> str:
    if rng.random() < 0.08:
        text = f"{rng.choice(OPENINGS)} {text}"
    if rng.random() < 0.06:
        text = f"{text}, {rng.choice(FILLER)}"
    if LOOK_PHRASES[look]:
        phrase = rng.choice((LOOK_PHRASES[look][0], rng.choice(LOOK_PHRASES[look])))
        text = f"{text}, {phrase}" if rng.random() < 0.8 else f"{phrase}, {text}"
    words = text.split()
    if rng.random() < 0.10:
        for _ in range(rng.randint(1, 4)):
            words.insert(rng.randint(0, len(words)), UNKNOWN)
    if rng.random() < 0.15:
        words.append(".")
    return " ".join(words)


def _all_phrases() -> Iterator[str]:
    for group in (OBJECT_NAMES, COLOR_NAMES, PLACE_PHRASES, LOOK_PHRASES):
        for phrases in group:
            yield from phrases
    for verbs in MOTION_VERBS:
        for forms in verbs:
            yield from forms
    for phrases in (TEMPLATES, MOTION_ONLY, OPENINGS, ADJECTIVES, ADVERBS, FILLER):
        yield from phrases
    yield "object thing shape a the one , . ; : ! ?"


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer over the captions' own words; pad 0, end 1 and unknown 2, as UMT5 numbers them."""
    words: dict[str, None] = {}
    splitter = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])
    for phrase in _all_phrases():
        for word, _ in splitter.pre_tokenize_str(phrase.replace("{", "").replace("}", "")):
            words[word] = None
    specials = ["<pad>", "</s>", UNKNOWN]
    vocabulary = {word: index for index, word in enumerate([*specials, *sorted(words)])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    backend.pre_tokenizer = splitter
    backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token=UNKNOWN,
        model_max_length=MAX_TOKENS,
    )
