"""English words that decide whether two questions have one answer: general knowledge, not taken from any data set."""

from __future__ import annotations

from typing import Final

_STOPWORDS: Final = """
a an the is are was were be been being am do does did doing have has had having can could will would shall
should may might must of to in on at by for with about into onto as and or but if then than that this these
those there here it its he she they them his her their what which who whom whose when where why how so ok okay
hi hello hey please thanks thank you your yours i me my mine we us our ours just also really actually any some
get got need want like know tell explain question wonder wondering help let lets exactly again quick quickly
possible able way ve re ll d m s t up out um uh er hmm oh yeah well sorry i'd i'll i've i'm you're from during
"""
#: Words that carry little: articles, helpers, politeness. Question words and persons are looked at apart.
STOPWORDS: Final = frozenset(_STOPWORDS.split())

#: Between semicolons is one meaning. The first word stands for all.
SYNONYMS: Final = """
buy purchase; price cost fee charge rate pricing; cancel terminate discontinue; begin start commence;
finish end complete conclude; big large huge; small little tiny; fast quick rapid speedy; fix repair mend;
remove delete erase; change modify alter edit update amend; find locate; send submit; reply respond answer;
obtain receive acquire; show display; choose select pick; allow permit permitted allowed;
ban forbid prohibit prohibited banned forbidden; password passcode; phone telephone mobile cellphone smartphone;
call ring; email e-mail mail; photo picture image; movie film; doctor physician gp; medicine medication drug;
ill sick unwell; kid child children; car vehicle automobile; flat apartment; rubbish trash garbage waste bin;
holiday vacation; job position role; salary wage pay earnings; employee worker staff; company firm business;
boss employer; delivery shipping shipment; parcel package; shop store; refund reimbursement; invoice bill;
money cash funds; country nation; city town; road street; trip journey travel;
aeroplane airplane plane aircraft flight; luggage baggage suitcase; ticket fare; hotel accommodation;
reserve book booking reservation; document file paperwork; folder directory; application app;
software program programme; bug error fault defect; install setup; download fetch; upload attach; share invite;
account profile; login signin logon; logout signout; register signup enrol enroll join; subscription membership;
customer client; contact reach; complain complaint; law legislation; rule regulation; lawyer solicitor attorney;
tenant renter; landlord landlady; house home; insurance cover coverage policy; tax taxes; loan lending;
exam examination test; teacher tutor; student pupil; dog puppy; cat kitten; food meal dish; drink beverage;
clean wash; near close nearby; far distant; happen occur; need require required necessary; use utilise utilize;
make create build generate; increase raise rise grow; decrease reduce lower drop decline fall; verify inspect;
view see look; stop halt quit; save keep; transfer move; replace swap substitute; mean signify;
eligible entitled qualify; expire expiry lapse; renew renewal; extend prolong extension; deadline cutoff;
wait waiting; schedule timetable; location address whereabouts; difference differ distinction; best top ideal;
cheap inexpensive affordable; expensive costly; safe secure; dangerous hazardous risky unsafe; broken faulty damaged;
lost missing misplaced; quote quotation estimate; dispute challenge contest; doubt question;
discount reduction voucher; cause reason; method way; amount quantity; evidence proof; guest visitor;
meeting appointment; advice guidance; centre center; colour color; organisation organization; licence license;
cheque check; jumper sweater; tap faucet; queue line; author writer; stolen theft; tell inform notify;
uk british britain; us american usa; eu european europe
"""

#: Phrases that mean one word.
PHRASES: Final = {
    "turn on": "enable",
    "switch on": "enable",
    "turn off": "disable",
    "switch off": "disable",
    "turn it on": "enable",
    "turn it off": "disable",
    "switch it on": "enable",
    "switch it off": "disable",
    "log in": "login",
    "sign in": "login",
    "log into": "login",
    "sign into": "login",
    "log out": "logout",
    "log off": "logout",
    "sign out": "logout",
    "sign up": "register",
    "sign up for": "register",
    "set up": "install",
    "get rid of": "remove",
    "take off": "remove",
    "money back": "refund",
    "get in touch": "contact",
    "phone number": "phone",
    "bring back": "return",
    "send back": "return",
    "give back": "return",
    "pick up": "collect",
    "look up": "find",
    "look for": "find",
    "find out": "find",
    "fill in": "complete",
    "fill out": "complete",
    "two-factor": "2fa",
    "two factor": "2fa",
    "going to": "will",
    "more than": "morethan",
    "no more than": "atmost",
    "longer than": "morethan",
    "less than": "lessthan",
    "fewer than": "lessthan",
    "at least": "atleast",
    "at most": "atmost",
    "how much does": "how much price",
    "how much is": "how much price",
    "how much are": "how much price",
    "how much do": "how much price",
    "what does it cost": "how much price",
    "at the same time": "simultaneous",
    "as well as": "and",
    "opening hours": "open hour",
    "opening times": "open hour",
    "united kingdom": "uk",
    "united states": "us",
    "free of charge": "free",
    "for free": "free",
    "next of kin": "kin",
}

#: Between semicolons are the two sides of one thing. A question about one is not answered by an answer about the other.
ANTONYMS: Final = """
enable activate|disable deactivate; add|remove; accept approve grant|reject refuse deny decline; allow|ban;
include|exclude omit; lock|unlock; open|close shut; increase|decrease;
maximum max most highest|minimum min least lowest; high higher|low lower; before|after; within|after; earliest|latest;
early|late; first|last; under below|over above; join|leave quit; improve|damage worsen; check-in|check-out checkout;
love|hate; upload|download; import|export; buy|sell; lend|borrow; send|receive; push|pull; encrypt|decrypt;
compress|decompress unzip; encode|decode; install|uninstall; subscribe|unsubscribe; follow|unfollow; mute|unmute;
block|unblock; freeze|unfreeze; login|logout; register|deregister; connect|disconnect; attach|detach; mount|unmount;
pause|resume; begin start|finish; begin start|stop; opt-in|opt-out;
arrive arrival inbound incoming|depart departure outbound outgoing; entry enter entrance|exit leave;
legal lawful|illegal unlawful; safe|dangerous; valid|invalid; possible|impossible;
correct right true|wrong incorrect false; good better best|bad worse worst;
advantage benefit pro pros|disadvantage drawback con cons; win won|lose lost; succeed success pass|fail failure;
profit|loss; income|expense; credit|debit; deposit|withdraw withdrawal; hire|fire dismiss sack; employee|employer;
tenant|landlord; buyer|seller; parent|child; teacher|student;
male man men boy husband father|female woman women girl wife mother; hot warm|cold cool; winter|summer; day|night;
morning|evening; public|private; internal|external; inside indoor indoors|outside outdoor outdoors;
domestic|international; north|south; east|west; left|right; front|back; upper top|lower bottom; old|new; young|old;
cheap|expensive; fast|slow; long|short; more|less fewer; many|few; single|joint; single|double; temporary|permanent;
full-time|part-time; online|offline; manual|automatic; mandatory compulsory|optional voluntary; free|paid;
free|premium; personal|business; monthly|yearly annual annually; weekday|weekend; encourage|discourage;
agree|disagree; like|dislike; appear|disappear; expand|collapse; zip|unzip; merge|split; raise|lower; lift|lower;
gain|lose; input|output; read|write; horizontal|vertical; sync|async; synchronous|asynchronous; ascending|descending;
wet|dry; raw|cooked; adult|child; sender|recipient; prepaid|postpaid; refundable|nonrefundable; gross|net
"""

#: Between semicolons are things of one kind. Where each side has another one of them, they are two questions.
ALTERNATIVES: Final = """
red blue green yellow black white orange purple pink brown grey amber; breakfast lunch dinner brunch supper;
car motorcycle motorbike bicycle bike bus train tram ferry plane taxi van lorry truck scooter;
dog cat rabbit horse bird fish hamster;
mother father brother sister son daughter wife husband aunt uncle grandmother grandfather grandparent;
kitchen bathroom bedroom lounge garage garden attic basement hallway; tea coffee wine beer juice water milk;
beef chicken pork lamb fish salmon tofu rice pasta bread potato;
english french german spanish italian portuguese chinese japanese korean arabic russian dutch polish;
spring summer autumn winter; head neck back shoulder arm hand knee foot leg stomach chest eye ear throat tooth skin;
bachelor master doctorate phd; cash card cheque transfer paypal; passport licence visa certificate;
monday tuesday wednesday thursday friday saturday sunday; cotton wool silk leather linen polyester;
gold silver bronze platinum; laptop phone tablet desktop printer camera monitor keyboard router speaker;
apple banana orange grape lemon cherry pear; football tennis basketball rugby cricket golf hockey swimming;
piano guitar violin drum flute; hour day week month year; kilogram gram litre metre mile kilometre inch foot;
email sms letter post; gift birthday wedding funeral; doctor dentist pharmacist nurse optician vet surgeon;
mortgage rent loan overdraft; home car travel pet life health; tenant landlord agent guarantor lodger;
employee contractor freelancer intern apprentice director shareholder; student teacher parent pupil governor;
passenger driver pilot pedestrian cyclist; england scotland wales ireland britain;
list dictionary set tuple array string integer float; pdf csv json xml docx png jpeg;
project organisation workspace team user; import export delete share print copy; boil fry bake grill steam roast;
repair exchange refund; renew cancel pause; tax pension insurance benefit
"""

#: Prefixes that turn a word round.
REVERSING_PREFIXES: Final = ("un", "in", "im", "ir", "il", "dis", "non", "de", "mis", "non-", "de-", "un-")

_NEGATIONS: Final = """
not never without no none neither nor nobody nothing nowhere cannot unable except excluding hardly lack lacks
"""
NEGATIONS: Final = frozenset(_NEGATIONS.split())

_QUALIFIERS: Final = """
only except international domestic business economy first premium enterprise professional pro basic standard
student child kid adult senior pensioner junior baby infant toddler pregnant disabled foreign local national
regional annual monthly weekly daily yearly quarterly temporary permanent extended express overnight same-day
next-day wireless wired electric diesel petrol hybrid used second-hand secondhand refurbished new old online
offline remote private public personal commercial residential joint single double family group individual
corporate self-employed part-time full-time contract freelance apprentice volunteer retired unemployed large
small medium mini max plus lite morethan lessthan atleast atmost largest smallest biggest fastest cheapest
oldest youngest highest lowest best worst top minimum maximum average total partial full half whole additional
extra spare main primary secondary backup emergency urgent overseas abroad weekend weekday bank outdoor indoor
vegan vegetarian halal kosher gluten-free organic male female women men girl boy beta trial free paid admin
administrator guest owner manager anonymous mobile desktop android ios windows mac linux legacy advanced
beginner historic current former previous next last past future early late digital physical paper return one-way
prepaid unlimited limited
"""
#: Words that narrow a question down. One that only one side has makes it another question.
QUALIFIERS: Final = frozenset(_QUALIFIERS.split())

_BELOW_TWENTY: Final = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
eighteen nineteen
"""
_TENS: Final = "twenty thirty forty fifty sixty seventy eighty ninety"
NUMBER_WORDS: Final = {
    **{word: value for value, word in enumerate(
        _BELOW_TWENTY.split()
    )},
    **{word: 10 * value for value, word in enumerate(
        _TENS.split(), 2
    )},
    "dozen": 12,
}  # fmt: skip
SCALES: Final = {
    "hundred": 100,
    "thousand": 1000,
    "k": 1000,
    "million": 10**6,
    "m": 10**6,
    "billion": 10**9,
    "bn": 10**9,
}

_MONTHS: Final = """
january jan|february feb|march mar|april apr|may|june jun|july jul|august aug|september sep sept|october oct|
november nov|december dec
"""
MONTHS: Final = {
    name: number
    for number, names in enumerate(
        _MONTHS.split("|"),
        1,
    )
    for name in names.split()
}
_WEEKDAYS: Final = """
monday mon|tuesday tue tues|wednesday wed|thursday thu thurs|friday fri|saturday sat|sunday sun
"""
WEEKDAYS: Final = {name: number for number, names in enumerate(_WEEKDAYS.split("|"), 1) for name in names.split()}
#: What a question asks for, by its first question word.
ASKS: Final = {
    "how": "how", "what": "what", "which": "what", "when": "when", "where": "where", "why": "why", "who": "who",
    "whose": "who", "whom": "who", "can": "may", "could": "may", "may": "may", "is": "may", "are": "may", "do": "may",
    "does": "may", "will": "may", "should": "may", "am": "may", "did": "may", "was": "may", "has": "may", "have": "may",
}  # fmt: skip
