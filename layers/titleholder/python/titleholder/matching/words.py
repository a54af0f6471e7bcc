"""The words of account titles that are not part of a name: titles, suffixes, roles, legal forms."""

import re

from titleholder.matching.text import compiled


def word_set(text: str) -> frozenset[str]:
    """Return the words of a text that lists them."""
    return frozenset(text.split())


TITLES = word_set(
    "mr mrs ms miss mx dr doctor prof professor mister madam sir lady lord dame rev reverend hon honorable fr sr sra srta srita"
    " don dona shri sri smt kumari mme mlle monsieur madame herr frau sheikh shaikh hajji haji capt captain col colonel lt sgt maj"
    " gen cpl pvt cmdr adm judge sen senator gov pres rt secretary pastor rabbi imam sister brother father saint st the"
)
# Titles that are hardly ever a given name or surname, so that two words suffice to drop them.
SURE_TITLES = word_set(
    "mr mrs ms miss mx dr prof professor mister madam rev reverend shri smt mme mlle monsieur madame herr frau honorable sra srta srita the"
)
# Titles that are also given names: the Don in "Don Kettering" is not a title but short for Donald.
TITLES_TOO = word_set(
    "don dona gen hon st saint sri kumari sister father brother judge sir lord lady fr sr rt pres maj col father imam sheikh shaikh"
)
GENERATIONS = {
    "jr": "2", "junior": "2", "jnr": "2", "ii": "ii", "2nd": "ii", "sr": "1", "senior": "1", "snr": "1", "iii": "3", "3rd": "3", "3d": "3",
    "iv": "4", "4th": "4", "5th": "5", "second": "ii", "third": "3", "fourth": "4", "2d": "ii",
}  # fmt: skip
# An ordinal is a generation only after "the": Duncan Farnsworth the third.
ORDINALS = frozenset(("second", "third", "fourth"))
CREDENTIALS = word_set(
    "md phd do dds dmd dvm od jd esq esquire cpa cfp cfa clu lutc rn np pa aia faia pe mba ma msc bsc ba bs ms ms msw lcsw lpc"
    " lmft phr sphr msced edd psyd mph dpm dc facs faap usn usaf usmc usa ret retd chfc llb llm frcs kc bsn lncc crna dnp fnp aprn"
    " lpn cmt lmt ctfa clcs qc obe mbe cbe bart macc mp mep"
)
# Credentials that are also surnames or given names. Such a word is a name, unless its letters have dots.
CREDENTIALS_TOO = word_set("ma do kc ba pa mp od np bart ms jd")
# Placeholders for a missing name.
NO_NAME = word_set("fnu lnu nfn nln nmn nmi")
# Words that say that there is no value, but are also names.
NAMES_TOO = word_set("na nan test nil tba blank empty xxx")
# Words that say that there is no value.
PLACEHOLDERS = word_set(
    "na none unknown null nil nan undefined notavailable notapplicable notprovided unavailable missing blank empty tbd xxx xxxx test tba"
    " noname nomiddlename unspecified anonymous refused withheld"
)

PARTICLES = word_set(
    "de del della delle dela di da das do dos du des la las le les lo los van vander von vom vor zu zum zur der den dem ter ten te"
    " 't el al ul ibn bin bint ben abu af av o san santa st ste saint mac mc fitz dal dalla degli d l y e i zur op in"
)
# Particles that join the words before and after them into one surname.
JOINERS = frozenset(("y",))
BINDING = PARTICLES - frozenset(("al", "o", "d", "l", "y", "e", "i", "ben", "in", "do", "lo", "la", "san", "ten", "te"))

TRUST_WORDS = word_set(
    "the a family revocable irrevocable living liv rev irrev joint marital bypass survivors survivor s decedents credit shelter"
    " testamentary land grantor inter vivos personal residence special needs supplemental separate property children childrens"
    " trust trst tr of and under agreement declaration will u a d t dtd dated date ua uad udt uta est"
)

LEGAL_FORMS = {
    "inc": "inc", "incorporated": "inc", "incorp": "inc", "corp": "inc", "corporation": "inc", "corpn": "inc", "co": "co",
    "company": "co", "cos": "co", "companies": "co", "llc": "llc", "lc": "llc", "ltd": "ltd", "limited": "ltd", "ltda": "ltda",
    "llp": "llp", "lp": "lp", "lllp": "llp", "pllc": "llc", "pc": "pc", "plc": "plc", "pvt": "ltd", "pte": "ltd", "pty": "ltd",
    "private": "ltd", "gmbh": "gmbh", "ag": "ag", "kg": "kg", "mbh": "gmbh", "ug": "ug", "ohg": "ohg", "ev": "ev", "bv": "bv",
    "nv": "nv", "cv": "cv", "sa": "sa", "sas": "sas", "sasu": "sas", "sarl": "sarl", "srl": "srl", "spa": "spa", "sl": "sl",
    "slu": "sl", "sc": "sc", "rl": "rl", "ab": "ab", "oy": "oy", "oyj": "oy", "as": "as", "asa": "as", "aps": "aps", "kk": "kk",
    "kft": "kft", "zrt": "zrt", "sro": "sro", "doo": "doo", "dd": "dd", "ooo": "ooo", "oao": "oao", "pao": "pao", "zao": "zao",
    "ojsc": "oao", "pjsc": "pao", "cjsc": "zao", "jsc": "jsc", "ao": "jsc", "se": "se", "bhd": "bhd", "sdn": "bhd", "tbk": "tbk",
    "eirl": "eirl", "na": "na", "fsb": "fsb", "cu": "cu", "fcu": "cu", "assn": "assn", "association": "assn",
    "foundation": "fdn", "fdn": "fdn", "partnership": "lp", "asbl": "assn", "vzw": "assn", "aisbl": "assn",
    "eurl": "sarl", "kgaa": "ag", "lda": "ltda",
}  # fmt: skip
# Legal forms with which no person's name ends.
SURE_FORMS = word_set(
    "inc incorporated corp corporation company llc ltd limited llp lllp pllc plc gmbh bv nv sarl srl ltda pvt pte pty oyj aps ooo"
    " oao ojsc pjsc partnership foundation assn association lp asbl vzw aisbl eurl kgaa"
)
BUSINESS_WORDS = word_set(
    "services service svcs solutions systems group holdings enterprises enterprise consulting consultants plumbing landscaping"
    " construction contractors contracting builders electric electrical roofing painting cleaning repair auto automotive motors"
    " trucking transport logistics express delivery realty properties property management mgmt investments capital ventures"
    " partners associates advisors financial insurance agency bank banking church ministries temple mosque school schools academy"
    " university college institute club league society restaurant cafe catering bakery pizza grill bar kitchen foods food market"
    " store shop boutique salon spa barber beauty fitness gym yoga studio studios productions media design designs graphics"
    " printing press publishing software technologies technology tech digital labs laboratories networks network communications"
    " telecom wireless energy oil gas petroleum power electronics semiconductor industries manufacturing mfg machine supply"
    " supplies distributors trading imports exports international intl global worldwide usa america american national hospital"
    " clinic medical dental health healthcare care center centre pharmacy therapy veterinary nursery daycare preschool childcare"
    " farms farm ranch winery brewery hotel hotels resort motel inn travel tours apartments homes housing estates rentals rental"
    " leasing legal law attorneys accounting tax bookkeeping payroll staffing security safety cleaners laundry floral florist"
    " jewelry gallery gallery arts theatre theater entertainment records music sports department city county township village"
    " district authority commission council committee federation union guild chapter post lodge pay payments support fund works"
    " lawn tree hvac heating cooling handyman freight towing tire tires body garage wash photo photography films events planning"
    " home improvements remodeling flooring tile glass welding steel metal wood lumber hardware equipment tools paper packaging"
    " plastics chemical pharmaceuticals"
)

# Words for trades that are also surnames.
SURNAMES_TOO = word_set(
    "church temple law bank banks post lodge glass wood steel metal stone farms ranch winery bar kitchen hall barber beauty mason"
    " farmer miller power auto tree body garage wash planning home tile lumber post league club force green market store shop grill"
    " salon gas oil force house houses homes hill park west county guild chapter village college school schools service money works"
    " fund lawn hotel inn travel tours paper records music sports city energy machine supply express delivery"
)

_PATTERNS = (
    ("POD", r"p\.?o\.?d\b\.?|t\.o\.d\b\.?|payable on death(?: to)?|transfer on death(?: to)?|i\.?t\.?f\b\.?|in trust for"),
    ("DBA", r"d\.?b\.?a\b\.?|d/b/a|doing business as|trading as|t/a"),
    ("AKA", r"a\.?k\.?a\b\.?|a/k/a|also known as|f\.?k\.?a\b\.?|f/k/a|n/k/a|formerly known as|formerly|nee|known as"),
    ("FBO", r"f\.?b\.?o\b\.?|f/b/o|for the benefit of|fao|benef(?:iciary)?"),
    ("CUST", r"cust(?:odian)?(?: (?:for|of))?|c/f|(?:co-?)?(?:guardian|conservator)(?:s|ship)?(?: (?:of|for))?|gdn(?: for)?"
             r"|rep(?:resentative)? payee for"),
    ("MINOR", r"a minor(?: child)?(?=,| |$)|(?:under )?(?:the )?(?:[a-z]{2} )?"
              r"(?:u\.?[tg]\.?m\.?a\b\.?|unif(?:orm)? (?:trans(?:fers?)?|gifts?) to min(?:ors?)? act)"
              r"(?:[ /-]+[a-z]{2}\b)?"),
    ("ESTATE", r"(?:the )?est(?:ate)?\.? of|decd|dec'd|deceased|(?<!real )estate$|est$|^(?:the )?est(?:ate)?\.?(?= [^\W\d_]{2,} )"
               r"|(?<!real )est(?:ate)?(?= (?:[\w'.-]+ ){1,6}(?:exec|adm|pers))"),
    ("EXEC", r"(?:(?:co-?)?execut(?:or|rix|ors)|exec[rx]?|pers(?:onal)? rep(?:resentative)?"
             r"|(?:co-?)?adm(?:inistrat(?:or|rix)s?|in|[rx])?(?= |$))(?: (?:of|for)(?: the)?(?! estate))?"
             r"|attorney[ -]in[ -]fact|power of attorney|poa|authorized signer|signer|agent for"
             r"|rep(?:resentative)? payee"),
    ("TTEE", r"co-?trustees?|successor trustees?|trustees?|ttees?|tr(?:ee|st?ee)s?|as trustee(?: of| for)?"
             r"|tr(?= (?:u/|ua|uad|dtd|fbo|udt))"),
    ("DATED", r"u/?a/?d?\b|u/?t/?a\b|u/?d/?t\b|dtd|dated"),
    ("JOINT", r"jt ?ten(?:ants?)?|jt ?w?ros|jtwros|joint(?: tenants?(?: with (?:rights? of )?survivorship)?)?|ten ?com"
              r"|ten ?(?:by ?the ?)?ent(?:irety)?"
              r"|tenants in common|tenants by (?:the )?entirety|community property"
              r"|comm? prop|with rights? of survivorship|wros|et ?al|et ?ux|et ?vir|hwjt"),
    ("CARE", r"c/o|care of|attn:?|attention"),
    ("SON", r"[sdw]/o|(?:son|daughter|wife|widow) of|h/o"),
    ("AND", r"and/or|and|or|[&+/;|]|und|et(?= [^\W\d_]{2,})"),
)  # fmt: skip
# Every marker contains one of these words or signs. Most names have none of them, so they do not need the long pattern.
_SIGNS = frozenset("/&+;|")
MARKER_WORDS = word_set(
    "pod tod death itf trust dba business trading aka fka known formerly fbo benefit fao custodian cust guardian nee beneficiary benef"
    " conservator payee under utma ugma uniform unif minors min est estate decd deceased trustee trustees ttee ttees cotrustee"
    " co-trustee tr trs tree trstee dtd dated uad ua uta udt jt jtten jtwros joint ten tencom tenent tenants tenancy entirety"
    " community comm wros rights et etal etux hwjt attn attention care or and und uta tod gdn exec executor executrix executors rep"
    " execr execx admin adm admr admx administrator administrators administratrix guardians guardianship conservators conservatorship"
    " coguardian co-guardian minor coexecutor co-executor representative"
    " attorney-in-fact attorney poa signer agent son daughter wife widow"
)


_MARKER = r"(?<![^\W_'])(?:" + "|".join(f"(?P<{name}>{pattern})" for name, pattern in _PATTERNS) + r")(?![^\W_'])"


_JOINING = r"[&+;|]|(?<=[^\W\d_]{3})/(?=[^\W\d_]{3})"


def mark(text: str) -> str:
    """Return a folded account title with its markers, such as "and", "trustee" or "pod", as capital words."""
    if text.isalpha() and text not in MARKER_WORDS:
        return text
    if not _SIGNS.isdisjoint(text):
        text = compiled(_JOINING).sub(lambda found: f" {found[0]} ", text)
    if _SIGNS.isdisjoint(text) and MARKER_WORDS.isdisjoint(_SPLIT.split(text.replace(".", "") if "." in text else text)):
        return text
    return compiled(_MARKER).sub(lambda found: f" {found.lastgroup} ", text)


_SPLIT = re.compile(r"[ ,:()-]+")
DATE = r"\b(\d{1,4})[/.-](\d{1,2})[/.-](\d{1,4})\b"
