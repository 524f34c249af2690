"""Phone numbers read slowly and plainly, character by character, and written in every way that people have."""

from random import Random

SEPARATORS = (
    *(" ", "-", ".", "/", "(", ")", "\t", ",", "_", "'"),
    *("\u00a0", "\u2009", "\u202f", "\u2010", "\u2011", "\u2013", "\u2212", "\uff0d", "\u200b", "\u202a", "\u00ad"),
)
SCRIPTS = (0x30, 0xFF10, 0x660, 0x6F0, 0x966, 0x1D7CE)
"""The zero of ASCII, full width, Arabic, Persian, Devanagari, mathematical bold."""

TWO_DIGITS = {20, 27, 30, 31, 32, 33, 34, 36, 39, 40, 41, 81, 82, 84, 86, 98}
TWO_DIGITS |= {*range(43, 50), *range(51, 59), *range(60, 67), *range(90, 96)}
WITH_ZEROS = ("39", "378", "379", "225", "229", "241", "242", "800", "808", "881", "882", "883", "888", "979")
WITH_ZEROS += tuple(f"87{digit}" for digit in range(10))


def slow_canonical(dialled, country, international="00", national="0"):
    """The canonical form of what is dialled: ASCII digits and + signs alone, at least one digit."""
    plus = False
    while "+" in dialled:
        before, _, after = dialled.partition("+")
        if set(before) <= {"0"}:
            plus, dialled = True, after
        else:
            dialled = before + after
    if plus and not dialled.startswith("0"):
        return without_zeros(dialled)
    if plus and dialled.startswith("00"):
        international = "00"
    if international and dialled.startswith(international):
        rest = dialled[len(international) :]
        while rest.startswith("0"):
            rest = rest[1:]
        if rest:
            return without_zeros(rest)
    if country and national and dialled.startswith(national):
        rest = dialled[len(national) :]
        if rest and rest[0] != "0":
            return without_zeros(country + rest)
    return dialled


def without_zeros(number):
    """An international number without the zeros after its country, where they are not dialled."""
    length = 1 if number[0] in "17" else 2 if int(number[:2]) in TWO_DIGITS else 3
    rest = number[length:]
    if not number.startswith(WITH_ZEROS):
        while rest.startswith("0"):
            rest = rest[1:]
    return "+" + number[:length] + rest


def write(random: Random, dialled: str) -> str:
    """The same number as somebody may write it, who is careless or wants to get past a rule."""
    zero = random.choice(SCRIPTS)
    written = random.choice(("", " ", "\u202a"))
    for character in dialled:
        character = chr(zero + int(character)) if character.isdigit() else random.choice(("+", "++", "\uff0b"))
        if random.random() < 0.1:
            character = "".join(f"%{byte:02X}" for byte in character.encode())
            character = character.replace("%", "%25") if random.random() < 0.3 else character
        written += character + (random.choice(SEPARATORS) if random.random() < 0.2 else "")
    return in_address(random, written)


def in_address(random: Random, written: str) -> str:
    written += random.choice(("", ":secret", ";isub=123", ";", ";postd=pp22"))
    match random.randrange(4):
        case 0:
            return written
        case 1:
            return f"{scheme(random, 'tel', 'callto')}{written}"
    host = random.choice(("h", "sip.example.org:5060", "[2001:db8::1]", "10.0.0.7;transport=udp", "h?Subject=5"))
    address = f"{scheme(random, 'sip', 'sips')}{written}@{host}"
    return address if random.random() < 0.5 else f"{random.choice(NAMES)}<{address}>{random.choice(('', ';tag=1'))}"


NAMES = ("", " ", "Bob ", '"Bob" ', '"0900 <sip:112@h>, \\"Bob\\"" ')


def scheme(random: Random, *names: str) -> str:
    name = "".join(random.choice((letter, letter.upper())) for letter in random.choice(names))
    return f"{name}{random.choice((':', ': ', ' :'))}"
