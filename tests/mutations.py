"""Where a C++ source could be wrong by one small step: the mutants of a text, for tests/mutants.py.

It reads source as clang-format leaves it: a binary operator has spaces on both sides, a unary one and a template's bracket have not.
"""
import re

# What binds tighter has the larger number; below 1 stands what ends an operand.
BINDS = {"*": 10, "/": 10, "%": 10, "+": 9, "-": 9, "<<": 8, ">>": 8, "<": 7, "<=": 7, ">": 7, ">=": 7, "==": 6, "!=": 6,
         "&": 5, "^": 4, "|": 3, "&&": 2, "||": 1, "?": 0, ":": 0, "=": 0, "+=": 0, "-=": 0, "*=": 0, "/=": 0, "|=": 0, "&=": 0, "^=": 0,
         "%=": 0, "<<=": 0, ">>=": 0}
OTHER = {"+": "-", "-": "+", "*": "/", "/": "*", "%": "/", "<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==",
         "&&": "||", "||": "&&", "+=": "-=", "-=": "+=", "*=": "/=", "/=": "*=", "|=": "&=", "&=": "|="}
OPERATOR = re.compile(r"(?<=\s)(%s)(?=\s)" % "|".join(re.escape(o) for o in sorted(BINDS, key=len, reverse=True)))
WORD_BEFORE = re.compile(r"(return|throw|case|else|do|co_return)\s+$")
CHAIN = re.compile(r"(?:::)?\w+")


def blanked(found):
    return re.sub(r"[^\n]", " ", found.group())


class Source:
    """A text with its comments blanked (code), its strings and preprocessor lines too (mask), and its brackets paired."""

    def __init__(self, text):
        literal = r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\''
        self.code = re.sub(r"//[^\n]*|/\*.*?\*/|" + literal, lambda m: m.group() if m.group()[0] in "\"'" else blanked(m), text,
                           flags=re.S)
        mask = re.sub(literal, lambda m: '"' + " " * (len(m.group()) - 2) + '"', self.code)
        mask = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", blanked, mask, flags=re.M)
        mask = re.sub(r"\[\[.*?\]\]|\bstatic_assert\(.*?\);|\b__attribute__\(\(.*?\)\)|\balignas\(\w+\)", blanked, mask, flags=re.S)
        mask = re.sub(r"\boperator(\(\)|\[\]|[^\s\w(]+)", lambda m: "operator" + "_" * len(m.group(1)), mask)
        mask = re.sub(r"\btemplate <", "template_<", mask)
        while True:  # a template's arguments become part of its name
            inner = re.sub(r"(?<=\w)<[^<>;{}]*(?<!-)>", lambda m: re.sub(r"[^\n]", "_", m.group()), mask)
            if inner == mask:
                break
            mask = inner
        # Constants are none to choose at run time; formulas within them are.
        self.mask = re.sub(r"\b(static )?constexpr [^;{]*", blanked, re.sub(r"\benum [^;]*;|\busing [^;]*;", blanked, mask))
        self.match = self.brackets()

    def brackets(self):
        pairs, open_ones = {}, []
        for i, c in enumerate(self.mask):
            if c in "([{":
                open_ones.append(i)
            elif c in ")]}" and open_ones:
                j = open_ones.pop()
                pairs[i], pairs[j] = j, i
        return pairs

    def left_of(self, at, binds):
        """Where the operand that ends before `at` begins, of an operator that binds so."""
        i = at
        while i > 0:
            c = self.mask[i - 1]
            if c in "([{,;" or (c == "}" and ";" in self.mask[self.match.get(i - 1, 0):i]):
                break
            if c in ")]}":
                begin = self.match.get(i - 1)
                if begin is None or (c == ")" and re.search(r"\b(if|for|while|switch)\s*$", self.mask[:begin][-12:])):
                    break
                i = begin
                continue
            operator = re.search(r"(?<=\s)(\S{1,3})\s$", self.mask[max(0, i - 5):i])
            if operator and BINDS.get(operator.group(1), 99) < binds:
                break
            if c.isspace() and WORD_BEFORE.search(self.mask[max(0, i - 12):i]):
                break
            i -= 1
        return i + len(self.mask[i:at]) - len(self.mask[i:at].lstrip())

    def right_of(self, at, binds):
        """Where the operand that begins behind `at` ends."""
        i = at
        while i < len(self.mask):
            c = self.mask[i]
            if c in ")]},;":
                break
            if c in "([{":
                i = self.match.get(i, len(self.mask)) + 1
                continue
            operator = OPERATOR.match(self.mask, i)
            if operator and BINDS[operator.group()] <= binds:
                break
            i += 1
        return at + len(self.mask[at:i].rstrip())

    def postfix(self, at):
        """The end of the operand of a unary operator: a name with calls, indices and members, or a bracket."""
        i = at
        while i < len(self.mask):
            if self.mask[i] in "([":
                i = self.match.get(i, len(self.mask)) + 1
            elif CHAIN.match(self.mask, i):
                i = CHAIN.match(self.mask, i).end()
            elif self.mask[i] == "." or self.mask.startswith("->", i):
                i += 1 if self.mask[i] == "." else 2
            else:
                break
        return i


def binary(s):
    for m in OPERATOR.finditer(s.mask):
        op, binds = m.group(), BINDS[m.group()]
        if op not in OTHER:
            continue
        begin, end = s.left_of(m.start(), max(binds, 1)), s.right_of(m.end(), binds)
        left, right = s.code[begin:m.start()].strip(), s.code[m.end():end].strip()
        if not left or not right:
            continue
        if binds:
            yield begin, end, "(%s) %s (%s)" % (left, OTHER[op], right)
        else:
            yield begin, end, "%s %s %s" % (left, OTHER[op], right)
        if op in ("+", "-", "*", "/", "&&", "||"):
            yield begin, end, left  # and not the right one


def conditions(s):
    for m in re.finditer(r"\b(if|while) \(", s.mask):
        begin, end = m.end(), s.match.get(m.end() - 1)
        if end is None:
            continue
        begin = max(begin, s.mask.rfind(";", begin, end) + 1)
        begin += len(s.mask[begin:end]) - len(s.mask[begin:end].lstrip())
        condition = s.code[begin:end]
        if re.search(r"[^=!<>]=[^=]|\w [*&]?\w", re.sub(r"\[.*?\]", "", s.mask[begin:end])):
            continue  # a declaration
        if not re.search(r"^!|[=!]=", condition):  # whose other mutants are that
            yield begin, end, "!(%s)" % condition
        if m.group(1) == "if":
            yield begin, end, "false"
    for m in re.finditer(r"(?<=\s)\?(?=\s)", s.mask):
        begin = s.left_of(m.start(), 1)
        end = begin + len(s.mask[begin:m.start()].rstrip())
        if begin < end and not re.search(r"^!|[=!]=", s.code[begin:end]):
            yield begin, end, "!(%s)" % s.code[begin:end]


def unary(s):
    for m in re.finditer(r"(?:(?<=[(\[{])|(?<=[-+*/<>=,?:&|] )|(?<=return ))([-!])(?=[\w(:])", s.mask):
        begin, end = m.start(), s.postfix(m.end())
        yield begin, end, "(%s)" % s.code[m.end():end] if m.group() == "-" else "bool(%s)" % s.code[m.end():end]


def literals(s):
    for m in re.finditer(r"(?<![\w.])(?:\d+\.\d*(?:e-?\d+)?f?|\d+e-?\d+f?|\d+u?)(?![\w.])", s.mask):
        if re.search(r"\b(case|return sizeof)\s*$", s.mask[:m.start()][-10:]):
            continue
        word = m.group()
        if re.fullmatch(r"\d+u?", word):
            number, suffix = int(word.rstrip("u")), "u" if word.endswith("u") else ""
            yield m.start(), m.end(), "%d%s" % (0 if number == 1 else number + 1, suffix)
        else:
            yield m.start(), m.end(), "2 * " + word
    for m in re.finditer(r"\b(true|false)\b", s.mask):
        yield m.start(), m.end(), "false" if m.group() == "true" else "true"


def calls(s):
    for m in re.finditer(r"\b(std|xsimd)::(min|max)_*\(", s.mask):
        end = s.match.get(m.end() - 1)
        if end:
            name = s.code[m.start():m.end()]
            other = name.replace("::" + m.group(2), "::" + {"min": "max", "max": "min"}[m.group(2)])
            yield m.start(), end + 1, other + s.code[m.end():end + 1]
    functions = "abs|sqrt|log|exp|isfinite|isinf|isnan|sigmoid|lane_exp|lane_log|neg|square"
    for m in re.finditer(r"(?<![\w:.>])(?:std::|xsimd::)?(?:%s)\(" % functions, s.mask):
        end = s.match.get(m.end() - 1)
        if end and "," not in s.mask[m.end():end] and re.search(r"(return|[-+*/=(,?:<>]) ?$", s.mask[:m.start()][-8:]):
            yield m.start(), end + 1, "(%s)" % s.code[m.end():end]
    for m in re.finditer(r"(?<=[\w)\]])\[", s.mask):
        end = s.match.get(m.start())
        inside = s.code[m.end():end] if end else ""
        declared = re.search(r"(\w+)[*&]* \w+(\[[^\n]*\])*$", s.mask[max(0, m.start() - 60):m.start()])  # an array, of that length
        if inside and not inside.isspace() and not (declared and declared.group(1) not in ("return", "else", "case")):
            yield m.end(), end, "(%s) + 1" % inside


def statements(s):
    for m in re.finditer(r"(?:[;{})]|\belse)\s+(?=[*\w])", s.mask):
        begin, end = m.end(), s.right_of(m.end(), 0)
        whole = s.mask[begin:s.mask.find(";", end) if ";" in s.mask[end:] else end]
        if "(" in s.mask[begin:end] and end < len(s.mask) and s.mask[end] == ";":
            head = s.mask[begin:s.mask.index("(", begin)]
            word = re.fullmatch(r"return|throw|if|for|while|sizeof", head)
            if re.fullmatch(r"[\w:.\->\[\]]+", head) and s.postfix(begin) == end and not word:
                yield begin, end, None
        assigned = re.match(r"[\w.*\->\[\]]+ (=|\|=) ", whole)
        if assigned:
            end = s.right_of(begin + assigned.end(), -1)
            if s.mask[end:end + 1] == ";":
                yield begin, end, None


def mutants_of(text, live):
    """(begin, end, what stands there instead) for each; None: nothing, a statement that is left out. `live`: lines that are compiled."""
    s = Source(text)
    found = []
    for rule in (binary, conditions, unary, literals, calls, statements):
        for begin, end, instead in rule(s):
            lines = range(text.count("\n", 0, begin) + 1, text.count("\n", 0, end) + 2)
            if all(line in live for line in (lines[0], lines[-1])) and not re.search(r"^\s*#", s.code[begin:end], re.M):
                found.append((begin, end, instead and " ".join(instead.split())))
    return s.code, sorted(set(found), key=lambda f: (f[0], -f[1], f[2] or ""))


def with_mutants(code, numbered):
    """The text with each of the (number, (begin, end, instead)) behind a question; those that overlap without one lying in the other are
    left out. Also the numbers that are in."""
    inside, open_ones = [], []
    for number, (begin, end, instead) in sorted(numbered, key=lambda n: (n[1][0], -n[1][1], n[0])):
        while open_ones and open_ones[-1] <= begin:
            open_ones.pop()
        if open_ones and end > open_ones[-1]:
            continue
        open_ones.append(end)
        inside.append((number, begin, end, instead))

    def written(begin, end, rest):
        out, at = [], begin
        while rest:
            number, b, e, instead = rest[0]
            within = [r for r in rest[1:] if r[2] <= e]
            out.append(code[at:b])
            original = written(b, e, within)
            if instead is None:
                out.append("(argtape_mutant(%d) ? void() : void(%s))" % (number, original))
            elif instead in ("false", "true") or instead.startswith(("!(", "bool(")):
                out.append("(argtape_mutant(%d) ? bool(%s) : bool(%s))" % (number, instead, original))
            else:
                out.append("(argtape_mutant(%d) ? (%s) : (%s))" % (number, instead, original))
            at, rest = e, rest[1 + len(within):]
        return "".join(out) + code[at:end]

    return written(0, len(code), inside), [i[0] for i in inside]
