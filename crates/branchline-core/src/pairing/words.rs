//! 256 short words that are hard to mishear for one another: one for each byte.

/// The words.
#[rustfmt::skip]
pub(super) const WORDS: [&str; 256] = [
    "acorn", "actor", "album", "amber", "angel", "ankle", "apple", "april", "apron", "arena", "arrow",
    "aspen", "atlas", "autumn", "badge", "bagel", "baker", "bamboo", "banjo", "barn", "basin", "basket",
    "beach", "beacon", "beaver", "bell", "berry", "bingo", "birch", "bishop", "blanket", "bloom", "boat",
    "bonus", "border", "bottle", "branch", "bread", "breeze", "brick", "bridge", "bronze", "brush",
    "bubble", "bucket", "butter", "cabin", "cactus", "camel", "camera", "canal", "candle", "canoe",
    "canyon", "carbon", "cargo", "carpet", "carrot", "castle", "cedar", "cello", "chalk", "cherry", "chess",
    "chimney", "cider", "cinema", "circle", "citrus", "clay", "clock", "cloud", "clover", "cobalt",
    "coconut", "comet", "copper", "coral", "cotton", "crane", "crater", "cricket", "crystal", "curtain",
    "dagger", "daisy", "dance", "delta", "denim", "desert", "dinner", "doctor", "dolphin", "donkey",
    "dragon", "drum", "eagle", "easel", "echo", "elbow", "ember", "engine", "falcon", "feather", "fender",
    "fern", "ferry", "fiddle", "finch", "flame", "flint", "flute", "forest", "fossil", "fountain", "fox",
    "galaxy", "garden", "garlic", "gecko", "ginger", "glacier", "globe", "goblet", "granite", "grape",
    "gravel", "guitar", "hammer", "harbor", "hazel", "helmet", "heron", "hockey", "honey", "horizon",
    "hornet", "igloo", "indigo", "island", "ivory", "jacket", "jaguar", "jasmine", "jelly", "jigsaw",
    "jungle", "kayak", "kettle", "kiosk", "kitten", "ladder", "lagoon", "lantern", "laurel", "lemon",
    "lentil", "lizard", "lobster", "lotus", "magnet", "mango", "maple", "marble", "meadow", "melon",
    "meteor", "mirror", "mitten", "monkey", "mosaic", "motor", "muffin", "museum", "mustard", "napkin",
    "nectar", "needle", "nickel", "noodle", "nutmeg", "oasis", "ocean", "olive", "onion", "opal", "orbit",
    "orchid", "otter", "oyster", "paddle", "palace", "panda", "paper", "parrot", "pastel", "peanut",
    "pebble", "pelican", "pencil", "pepper", "piano", "picnic", "pigeon", "pillow", "pirate", "planet",
    "plum", "pocket", "polar", "pony", "potato", "prism", "puzzle", "quartz", "rabbit", "radar", "radio",
    "raven", "ribbon", "river", "robin", "rocket", "saddle", "saffron", "salmon", "sandal", "satin",
    "saturn", "scarf", "shadow", "silver", "sketch", "soccer", "spider", "spruce", "squash", "stable",
    "summit", "sunset", "swan", "tango", "tiger", "timber", "tomato", "topaz", "tulip", "tunnel", "turtle",
    "velvet", "violet", "walnut", "willow", "window", "winter", "zebra",
];
