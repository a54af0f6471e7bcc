"""What vendors and schemes publish, and what users report, about whether two names belong together: the conformance corpus.

Each case says where it comes from, which class it belongs to, what our verdict must be, and, where a vendor publishes a score, on which
band of our scale it must land. ``vendors`` records what others answer; where they contradict each other or us, ``disagreement`` says how.
"""

from dataclasses import dataclass, field
from typing import Any

PLAID = "https://plaid.com/docs/identity/interpreting-identity-match/"
FLINKS = "https://docs.flinks.com/guides/connect/field-match-guide"
FLINKS_OLD = "https://docs.flinks.com/docs/match-rate-examples"
NUMERAL = "https://docs.numeral.io/docs/matching-algorithm"
DATA_ONE = "https://docs.data.one/docs/bank-account-verification"
OPEN_BANK = "https://github.com/JiRaska/open-bank-oss/issues/1204"
OPEN_BANK_FORMS = "https://github.com/JiRaska/open-bank-oss/pull/1195"
COLLECTIVE_INITIALS = "https://github.com/opencollective/opencollective/issues/5701"
COLLECTIVE_FUZZY = "https://github.com/opencollective/opencollective/issues/7787"
COLLECTIVE_FORM = "https://github.com/opencollective/opencollective/issues/8415"
BISQ_PARTICLE = "https://github.com/bisq-network/support/issues/2017"
BISQ_ORDER = "https://github.com/bisq-network/wiki/issues/45"
ZIGLU = "https://help.ziglu.io/hc/en-gb/articles/28841070249105-How-does-Confirmation-of-Payee-work"
STARLING = "https://help.starlingbank.com/hc/en-us/articles/360015941960"
BARCLAYS = "https://www.barclays.co.uk/help/confirmation-of-payee/how-confirmation-of-payee-will-work/"
BANFICO = "https://banfico.com/why-advanced-name-matching-is-critical-for-epc-vop/"
EPC_EXAMPLE = "https://verification-of-payee.eu/blog/how-name-matching-works-verification-of-payee"
LINGUA = "https://metacpan.org/pod/Lingua::EN::MatchNames"
IDENFY = "https://documentation.idenfy.com/guides/dashboard/aml/aml-name-matching-logic"
SCRAP = "https://github.com/CIECODE-Madrid/Scrap/issues/16"
WORBLI = "https://github.com/worbli/portal-v2-uat/issues/12"
HISTORY_WOOD = "https://github.com/historyforge/historyforge/issues/238"
FUZZY_MATCHER = "https://github.com/intuit/fuzzy-matcher/issues/79"
BARCLAYS_TIPS = "https://www.barclays.co.uk/help/confirmation-of-payee/how-can-i-make-sure-my-payment-goes-to-the-right-person-/"
STYLE = "our own, in the spirit of the sources above"


@dataclass(frozen=True)
class Case:
    """One published comparison."""

    group: str
    claim: Any
    owner: Any
    expect: str | tuple[str, ...]
    source: str
    band: tuple[float, float] | None = None
    vendors: dict[str, str] = field(default_factory=dict)
    disagreement: str = ""
    field_name: str = "name"

    @property
    def outcomes(self) -> tuple[str, ...]:
        """The outcomes that conform."""
        return (self.expect,) if isinstance(self.expect, str) else self.expect

    @property
    def claim_dict(self) -> dict[str, Any]:
        """The claim as the matcher takes it."""
        return self.claim if isinstance(self.claim, dict) else {"name": self.claim}

    @property
    def owners(self) -> list[dict[str, Any]]:
        """The account's owners as the matcher takes them."""
        held = self.owner if isinstance(self.owner, list) else [self.owner]
        return [one if isinstance(one, dict) else {"name": one} for one in held]


YES, CLOSE, NO, UNKNOWN = "match", "close_match", "no_match", "not_verifiable"

CASES: tuple[Case, ...] = (
    # Plaid's scale
    Case("exact", "Jennifer Smith", "Jennifer Smith", YES, PLAID, (100, 100)),
    Case("normalised", "Jennifer Smith", "Ms. Jennifer Smith", YES, PLAID, (99, 99)),
    Case("middle name", "Jennifer Smith", "Jennifer W. Smith", YES, PLAID, (99, 99)),
    Case("order", "Li Chen", "Chen Li", YES, PLAID, (99, 99), {"Data.One": "0.7 for such a swap"},
         "Data.One takes 30 points for the order"),
    Case("suffix", "Andrew Smith", "Andrew Smith Jr.", YES, PLAID, (95, 98)),
    Case("nickname", "Jennifer Smith", "Jenn Smith", YES, PLAID, (90, 94)),
    Case(
        "typing error", "Alerta Charleson", "Alberta Bobbeth Charleson", YES,
        "https://plaid.com/docs/api/products/identity/#identitymatch", (90, 94), {"Plaid's sandbox": "91"},
    ),
    # Flinks
    Case("exact", "Jonathan Doe", "Jonathan Doe", YES, FLINKS, (100, 100)),
    Case("nickname", "John Doe", "Jonathan Doe", YES, FLINKS, (80, 99)),
    Case("typing error", "Jon Doe", "John Doe", YES, FLINKS_OLD, (80, 99)),
    Case("several small errors", "Jon Do", "John Doe", CLOSE, FLINKS, (65, 79)),
    Case(
        "several small errors", "Jane Do", "John Doe", NO, FLINKS_OLD, (0, 59), {"Flinks": "0.65-0.79, possible match"},
        "Flinks takes Jane for a small discrepancy of John; for an owner of an account she is another person",
    ),
    Case(
        "relative", "Steve Doe", "Jonathan Doe", NO, FLINKS, (50, 64), {"Flinks": "0.50-0.64", "Numeral": "45 for a like pair"},
        "the same class of pair is 50 to 64 at Flinks, 45 at Numeral and 62.5 at Data.One; no match at any of them",
    ),
    Case("stranger", "Air Bud", "Jonathan Doe", NO, FLINKS, (0, 49)),
    # Numeral: close match from 80
    Case("stranger", "Pierre Leroy", "Jean Dupont", NO, NUMERAL, (0, 20), {"Numeral": "9"}),
    Case(
        "relative", "Maxime Dupont", "Jean Dupont", NO, NUMERAL, (40, 60), {"Numeral": "45", "Flinks": "0.50-0.64 for a like pair"},
        "see Steve Doe: one scale cannot hold both",
    ),
    Case("typing error", "Jaen Dupont", "Jean Dupont", YES, NUMERAL, (79, 89), {"Numeral": "81", "Plaid": "90-94 for one typing error"},
         "a short given name with swapped letters is worth less to Numeral than to Plaid's rule"),
    Case("typing error", "Jean Dupond", "Jean Dupont", YES, NUMERAL, (90, 94), {"Numeral": "91"}),
    Case("exact", "Jean Dupont", "Jean Dupont", YES, NUMERAL, (100, 100)),
    # Data.One
    Case("exact", "Jane Doe", "Jane Doe", YES, DATA_ONE, (100, 100)),
    Case("exact", "Jane Jane", "Jane Jane", YES, DATA_ONE, (100, 100)),
    Case("middle name", "David John William Smith", "John William Smith", CLOSE, DATA_ONE, (50, 69), {"Data.One": "0.925"},
         "a missing first given name is a father's or brother's as often as one's own, so it is for review; Data.One takes 7.5 points"),
    Case("middle name", "Jane Samantha Doe", "Jane Doe", YES, DATA_ONE, (90, 99), {"Data.One": "0.9"}),
    Case("order", "Mary Jane Doe", "Jane Mary Doe", YES, DATA_ONE, (70, 99), {"Data.One": "0.8"}),
    Case("order", "Mary Jane Doe", "Doe Mary Jane", YES, DATA_ONE, (95, 99), {"Data.One": "0.8"}),
    Case("order", "Doe Jane", "Jane Doe", YES, DATA_ONE, (99, 99), {"Data.One": "0.7", "Plaid": "99"}, "as Li Chen"),
    Case(
        "different middle name", "Jane Samantha Doe", "Jane Mary Doe", (CLOSE, NO), DATA_ONE, (45, 69), {"Data.One": "0.75"},
        "two full, different middle names belong to two people more often than not; Data.One takes 25 points only",
    ),
    Case("different middle name", "Mary Samantha Doe", "Doe Mary Jane", (CLOSE, NO), DATA_ONE, (30, 69), {"Data.One": "0.6"}),
    Case("relative", "Jane Doe", "May Doe", NO, DATA_ONE, (40, 65), {"Data.One": "0.625"}),
    Case("other surname", "Jane Doe", "Jane Smith", NO, DATA_ONE, (40, 60), {"Data.One": "0.5"}),
    Case("missing", "", "", UNKNOWN, DATA_ONE, None, {"Data.One": "0"}, "what is missing is no mismatch: null, not 0"),
    Case("missing", "Jane Doe", "", UNKNOWN, DATA_ONE, None, {"Data.One": "0"}, "as above"),
    # Reported by users and reviewers
    Case("cut or another name", "Jan Tomas", "Jan Tom", (CLOSE, NO), OPEN_BANK, (0, 69)),
    Case("cut or another name", "Maria Teresa", "Maria Tere", (CLOSE, NO), OPEN_BANK, (0, 69)),
    Case("cut or another name", "John Thomas", "John Thom", (CLOSE, NO), OPEN_BANK, (0, 69)),
    Case("cut or another name", "Petr Lukas", "Petr Luk", (CLOSE, NO), OPEN_BANK, (0, 69)),
    Case("legal form", {"business_name": "Acme s.r.o."}, "Acme a.s.", (CLOSE, NO), OPEN_BANK_FORMS, (0, 79)),
    Case("legal form", {"business_name": "Acme Ltd"}, "Acme LLC", (CLOSE, NO), OPEN_BANK_FORMS, (0, 79)),
    Case("initials", {"given": "Alanna", "family": "Irving"}, "A S IRVING", YES, COLLECTIVE_INITIALS, (70, 89)),
    Case("business", {"business_name": "Open Finance Consortium"}, "Open Finance Consortium Inc. 501(c)(c6)",
         YES, COLLECTIVE_FUZZY, (90, 99)),
    Case("other surname", "Benjamin Lopez", "Benjamin Perez", NO, COLLECTIVE_FUZZY, (0, 60)),
    Case("legal form", {"business_name": "Open Collective Europe ASBL"}, "Open Collective Europe", YES, COLLECTIVE_FORM, (90, 99)),
    Case("particles", "Mickey Rourke", "Mickey de la Rourke", YES, BISQ_PARTICLE, (90, 99)),
    Case("order", "Mickey Rourke", "ROURKE MICKEY", YES, BISQ_ORDER, (99, 99)),
    Case("initials", "John Smith", "Mr J Smith", YES, ZIGLU, (70, 89), {"Confirmation of Payee": "close match"},
         "Pay.UK's close match; ours is a match with INITIALS_ONLY, and maps to MBAM"),
    Case("middle name", {"given": "James", "family": "Smith"}, "PETER JAMES SMITH", (YES, CLOSE), STARLING, (50, 94),
         {"Confirmation of Payee": "no match"}, "a payee known by a middle name is no match to Starling"),
    Case("typing error", "Katherine Johnson", "Katherine Jonhson", YES, STARLING, (90, 94), {"Confirmation of Payee": "close match"}),
    Case("nickname", "Bob Miller", "Robert Miller", YES, BANFICO, (90, 94)),
    Case("spelling", "Alejandro Ruiz", "Alessandro Ruiz", YES, BANFICO, (90, 94)),
    Case("nickname", "Jon Smith", "Jonathan Smith", YES, EPC_EXAMPLE, (90, 94)),
    Case("minor", "Tim Smith", "JANE SMITH CUST FOR TIM SMITH UTMA NY", (CLOSE, NO), BARCLAYS, (0, 69)),
    Case("typing error", "Homer Simpson", "HOMER SIMPOSN", YES, LINGUA, (90, 94), {"Lingua::EN::MatchNames": "77"}),
    Case("nickname", "Liz Grene", "Elizabeth Green", (CLOSE, YES), LINGUA, (50, 89), {"Lingua::EN::MatchNames": "72"}),
    Case("nickname", "Kathy O'Brien", "Catherine Obrien", YES, LINGUA, (90, 94), {"Lingua::EN::MatchNames": "81"}),
    Case("two forms of one name", "Peggy MacHenry", "Midge Machenry", (CLOSE, NO), LINGUA, (0, 69), {"Lingua::EN::MatchNames": "81"},
         "two people are called Peggy and Midge more often than one Margaret is called both"),
    Case("other given name", "Brian Lalonde", "RYAN LALAND", NO, LINGUA, (0, 59), {"Lingua::EN::MatchNames": "72"},
         "Brian and Ryan are two given names"),
    Case("suffix conflict", "Chuck Reed, Jr.", "Charles Reed II", YES, LINGUA, (80, 95), {"Lingua::EN::MatchNames": "82"}),
    Case("missing first name", "H. Ross Perot", "Ross PEROT", (CLOSE, NO), LINGUA, (50, 69), {"Lingua::EN::MatchNames": "88"},
         "the first word is missing on the other side: for review, as every missing first given name"),
    Case("double surname", {"given": "Kathy", "family": "Smith-Curry"}, "KATIE CURRY", (CLOSE, NO, YES), LINGUA, (50, 89),
         {"Lingua::EN::MatchNames": "81"}),
    Case("glued", "Leela Miles-Conrad", "Leela MilesConrad", YES, LINGUA, (90, 100), {"Lingua::EN::MatchNames": "86"}),
    Case("two surnames one sound apart", "Lizzie Hanson", "Lizzie Hansen", CLOSE, LINGUA, (50, 69),
         {"Lingua::EN::MatchNames": "similar phonetics"},
         "Hanson and Hansen are surnames of two families; the list names them as phonetically the same"),
    Case("two surnames one letter apart", "Silas Wood", "SILAS WOODS", CLOSE, HISTORY_WOOD, (50, 69),
         {"HistoryForge": "a match, as its users ask"}, "genealogists want to see the pair; a payer must look at it first"),
    Case("order", "Quique Ruiz Navarro", "Ruiz Navarro, Quique", YES, SCRAP, (98, 99)),
    Case("different middle name", "David James Smith", "David Keith Smith", CLOSE, WORBLI, (50, 69)),
    Case("spelling", {"given": "Mohamed", "family": "Nasri"}, "MOHAMAD NASRI", YES, FUZZY_MATCHER, (90, 94)),
    Case("accents", "Timothée Dupont-Giguère", "TIMOTHEE DUPONT GIGUERE", YES, IDENFY, (98, 100)),
    Case("order", "John Smith", "Smith John", YES, IDENFY, (98, 99)),
    Case("joint", "Jane Doe", "JOHN ROE & JANE DOE", YES, BARCLAYS_TIPS, (95, 99)),
    # What account titles look like
    Case("joint", "Jane Smith", "JOHN & JANE SMITH", YES, STYLE, (95, 99)),
    Case("joint", "Jane Smith", "SMITH JOHN OR JANE", YES, STYLE, (95, 99)),
    Case("joint", "Jane Smith", "JOHN SMITH JANE SMITH JTWROS", YES, STYLE, (95, 99)),
    Case("joint", "Jane Smith", ["JOHN SMITH", "JANE SMITH"], YES, STYLE, (100, 100)),
    Case("joint", "Mary Smith", "JOHN & JANE SMITH JT TEN", NO, STYLE, (0, 60)),
    Case("trust", "John Smith", "JOHN SMITH TTEE SMITH FAMILY TRUST U/A DTD 01/02/2003", YES, STYLE, (90, 99)),
    Case("trust", "John Smith", "THE SMITH FAMILY TRUST", (CLOSE, NO), STYLE, (0, 69)),
    Case("trust", "Mary Smith", "JOHN SMITH TTEE SMITH FAMILY TRUST", NO, STYLE, (0, 60)),
    Case("beneficiary", "Jane Smith", "JOHN SMITH POD JANE SMITH", NO, STYLE, (0, 60)),
    Case("trade name", {"given": "Emma", "family": "Fox"}, "EMMA FOX DBA FOX LANDSCAPING", YES, STYLE, (90, 99)),
    Case("trade name", {"business_name": "Fox Landscaping"}, "EMMA FOX DBA FOX LANDSCAPING", YES, STYLE, (90, 99)),
    Case("sole trader", {"given": "John", "family": "Smith"}, "JOHN SMITH PLUMBING LLC", CLOSE, STYLE, (50, 69)),
    Case("sole trader", {"business_name": "John Smith LLC"}, "JOHN SMITH", CLOSE, STYLE, (50, 69)),
    Case("business number", {"business_name": "Harbor Partners II LLC"}, "HARBOR PARTNERS III LLC", NO, STYLE, (0, 49)),
    Case("business", {"business_name": "Harbor Light Bakery"}, "HARBOR LIGHT BREWERY", (CLOSE, NO), STYLE, (0, 69)),
    Case("legal form", {"business_name": "Harbor Light Bakery, Inc."}, "HARBOR LIGHT BAKERY INC", YES, STYLE, (99, 100)),
    Case("suffix", "John Smith Jr", "John Smith Sr", NO, STYLE, (0, 60)),
    Case("relative", "Mark Smith", "Mary Smith", NO, STYLE, (0, 60)),
    Case("relative", "Brian Lee", "Briana Lee", NO, STYLE, (0, 60)),
    Case("spelling", "Jürgen Müller", "JUERGEN MUELLER", YES, STYLE, (80, 99)),
    Case("spelling", "Иван Петров", "IVAN PETROV", YES, STYLE, (95, 100)),
    Case("cut", "Christopher Montgomery", "CHRISTOPHER MONTGOME", YES, STYLE, (70, 89)),
    Case("double surname", {"given": "Maria", "family": "Garcia Lopez"}, "MARIA GARCIA", YES, PLAID, (90, 94)),
    # Other fields
    Case("phone", {"phone": "4161234567"}, {"phone": "416-123-4567"}, UNKNOWN, FLINKS, (100, 100), field_name="phone"),
    Case("postal code", {"address": {"postal_code": "M6N4H9"}}, {"raw_address": "M6N4H9"},
         UNKNOWN, FLINKS, (100, 100), field_name="address"),
    Case("postal code", {"address": {"postal_code": "M6N 4H9A"}}, {"raw_address": "M6N4H9"},
         UNKNOWN, FLINKS, (80, 99), field_name="address"),
    Case("postal code", {"address": {"postal_code": "M6N4H1"}}, {"raw_address": "M6N4H9"},
         UNKNOWN, FLINKS, (65, 79), field_name="address"),
    Case("postal code", {"address": {"postal_code": "M6N2H8"}}, {"raw_address": "M6N4H9"},
         UNKNOWN, FLINKS, (50, 64), field_name="address"),
    Case("postal code", {"address": {"postal_code": "K7L3R67"}}, {"raw_address": "M6N4H9"},
         UNKNOWN, FLINKS, (0, 49), field_name="address"),
)  # fmt: skip
