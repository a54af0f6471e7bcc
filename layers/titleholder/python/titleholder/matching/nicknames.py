"""Tables of given names: their short and familiar forms, and their other spellings."""

from titleholder.matching.text import within_two

# One line for each formal name, followed by the short and familiar forms that people sign with. The direction matters: Bill and Will are
# both forms of William and so may be one man, but Robert and Albert are different names although both have the form Bert.
_FORMS = """
aaron: ron ronnie
abel: abe
abigail: abby abbie gail abbey
abner: ab
abraham: abe bram ham abram
abram: abe bram
ada: addie
adam: ad
adelaide: addie adele della heidi
adelbert: del bert
adele: addie della
adeline: addie della ada
adrian: ade
adriana: addie
agatha: aggie
agnes: aggie nessie
aileen: allie lena
alan: al
alastair: al
albert: al bert bertie
alberta: bertie allie
albin: al
alejandra: ale sandra
alejandro: alex ale jandro
aleksandr: alex sasha sergei alik
aleksandra: sasha alexandra
alexander: alex al alec sandy lex xander alexi sander sasha
alexandra: alex sandra sandy lexi alexa sasha lexie allie
alexandria: alex lexi
alexis: alex lexi lex
alfonso: al fonzie poncho
alfred: al fred alf alfie freddie
alfreda: freda
alice: allie ali
alicia: ali lisa allie
allen: al
allison: allie ali
alonzo: al lonnie lon
aloysius: al lou
alphonse: al
alvin: al
amanda: mandy manda mandi
amelia: amy millie mel
amos: moses
anastasia: ana stacy stacey tasia nastya
andrea: andi drea andie
andreas: andy
andrew: andy drew
andrei: andy
andres: andy
angela: angie ange
angelina: angie lina angel
angeline: angie
anna: annie ann nan nannie nancy anya
annabelle: anna bella belle annie
anne: annie nan nancy
annette: annie netta
anthony: tony ant
antoinette: toni tony netta nettie
antonia: toni tonya
antonio: tony tonio toni
antony: tony
archibald: archie arch
ariana: ari
arlene: lena
armando: mando
arnold: arnie
arthur: art artie
aubrey: bree
audrey: audie
august: gus augie
augusta: gussie gusta
augustine: gus augie austin
augustus: gus augie
aurelia: ora
avery: ave
barbara: barb babs barbie barbra bobbie
barnabas: barney
barnaby: barney
barnard: barney
bartholomew: bart bartie
beatrice: bea trixie bee
beatriz: bea
belinda: linda bel
benedict: ben
benjamin: ben benny benji benjie bennie
bernadette: bernie detta
bernard: bernie barney
bernardo: bernie
bernice: bernie
bertha: bertie birdie
bertram: bert
bethany: beth
beverly: bev
blanche: bea
bonita: bonnie
bradford: brad ford
bradley: brad
brandon: bran
brenda: bren
brendan: bren
brian: bri
brianna: bri
bridget: bridie biddy bridgie
brittany: britt brit
caitlin: cait cate
calvin: cal
cameron: cam
camille: cami millie
candace: candy candi
carl: charlie
carla: carly
carlos: carlito charlie
carlton: carl
carmen: carm
carol: carrie
caroline: carol carrie caro lynn carly callie
carolyn: carol carrie lynn caro
cassandra: cassie sandra sandy cass
catherine: cathy kate katie cat cathie kay kitty kathy cate trina
cecil: cec
cecilia: cece celia cissy sissy
cedric: ced rick
chandler: chan
charles: charlie chuck chas charley chick chip chaz carl
charlotte: charlie lottie char lotte lotta
chester: chet
cheryl: cher
christian: chris kit
christiana: chris tina christy
christina: chris tina christy chrissy chrissie christi
christine: chris tina christy chrissy chrissie christi
christopher: chris topher kit kris
cicely: cis
clarence: clare
clarissa: clara
claudia: claudie
clayton: clay
clement: clem
clementine: clem
clifford: cliff
clifton: cliff
clinton: clint
constance: connie
cordelia: delia cordy
cornelia: nelia corny
cornelius: neil con corny neal
cristina: cris tina
crystal: chris
curtis: curt
cynthia: cindy cyndi cindi cyn
cyril: cy
cyrus: cy
dale: dal
daniel: dan danny dannie
daniela: dani dany
danielle: dani
darlene: darla
darrell: darry
david: dave davey davy davie
deanna: dee
deborah: deb debbie debby debi deb debra
debra: deb debbie debby debi
delbert: del bert
della: dell
delores: dee lola del
denise: dee
dennis: denny den
derek: rick
desiree: desi
diana: di dee
diane: di dee
dmitri: dima mitya
dolores: dee lola lolly dolly
dominic: dom nick nic
dominick: dom nick
dominique: nikki dom
donald: don donnie donny
donna: dee
dorothea: dot dotty dora thea
dorothy: dot dottie dolly dotty dory dora
douglas: doug
drusilla: dru
duncan: dunc
dwayne: wayne
earnest: ernie
ebenezer: eben
edgar: ed eddie
edith: edie
edmond: ed eddie ned ted
edmund: ed eddie ned ted
eduardo: ed eddie lalo
edward: ed eddie ted ned teddy eddy ward
edwin: ed eddie eddy win ned
edwina: win
eileen: ellie
elaine: lainie elly
eleanor: ellie nell nellie nora ella elly lena
eleanora: ellie nora
elena: lena
eli: lee
elias: eli
elijah: eli lige
elinor: ellie nora nell
elisabeth: liz beth betty lisa lizzie libby
elisha: eli
eliza: liz lizzie
elizabeth: liz beth betty lizzie lizzy libby eliza betsy bess bessie lisa liza betty elsie lilibet bette bettie ellie lib elise
ella: ellie
ellen: ellie nell nellie
ellis: ell
elmer: elm
elvira: vira
elwood: woody
emanuel: manny
emeline: emmy emma
emery: em
emily: em emmy emmie millie emma
emma: em emmy emmie
enrique: rick kiki quique
ephraim: eph
eric: rick
erasmus: raz
ernest: ernie ern
ernesto: ernie neto
esperanza: hope
estelle: stella essie
esteban: steve
esther: essie hettie hester
eugene: gene
eugenia: genie
eunice: nicie
euphemia: effie
evangeline: eva evie vangie
evan: ev
evelyn: eve evie lynn ev
everett: ev
ezekiel: zeke
ezra: ez
faith: fay
felicia: lisa
felicity: flick
ferdinand: ferdie
fernando: nando
fletcher: fletch
florence: flo flossie florrie
floyd: lloyd
frances: fran fannie franny frankie francie fanny sis
francesca: fran franny cesca
francis: frank fran frankie franz
francisco: frank paco pancho cisco kiko
francine: fran francie
franklin: frank frankie
frank: frankie
fredrick: fred freddie freddy rick
frederic: fred freddie freddy
frederica: freddie
frederick: fred freddie freddy rick fritz
gabriel: gabe
gabriela: gabby gaby
gabriella: gabby ella
gabrielle: gabby
galen: gale
garrett: gary
gareth: gary
gaylord: gay
genevieve: gen jenny eve viv
geoffrey: geoff jeff
george: georgie geordie
georgia: george
georgina: georgie gina
gerald: gerry jerry
geraldine: gerry jerry dina
gerard: gerry jerry
gerardo: jerry
gertrude: gertie trudy gert
gilbert: gil bert
gilberto: gil beto
giovanni: gio vanni john
giuseppe: joe beppe
gloria: glory
gordon: gordy gord
grace: gracie
graciela: chela
gregory: greg gregg
gregorio: greg goyo
gretchen: gretta
griffin: griff
griffith: griff
grover: grove
guadalupe: lupe
guillermo: bill memo willie
gustav: gus
gustave: gus
gustavus: gus
gwendolyn: gwen wendy
hannah: annie
harold: harry hal
harriet: hattie harrie
harrison: harry
harvey: harv
hazel: haze
heather: hettie hetty
hector: heck
helen: nell nellie lena ellie
helena: lena nell
henrietta: etta hettie hetty hank henny
henry: hank harry hal
herbert: herb bert herbie
herman: herm
hermione: herm
hester: hettie hetty essie
hezekiah: hez
hilary: hil
hillary: hil
hiram: hi
horace: hod
horatio: horry
howard: howie hal ward
hubert: bert hugh hub
hugh: hughie
humberto: beto
ignacio: nacho
ignatius: iggy nate
immanuel: manny
imogen: immy
ines: nettie
inez: nettie
irene: rena
irving: irv
irvin: irv
isaac: ike zac
isabel: izzy bella belle isa
isabella: izzy bella belle isa bell
isabelle: izzy bella belle
isadora: izzy dora
isaiah: zay ike
isidore: izzy
israel: izzy
ivan: vanya
jackson: jack
jacob: jake jay
jacqueline: jackie jacqui jacky
jaime: jim
james: jim jimmy jamie jimmie jem jas
jamison: jamie
jane: janie jenny jan
janet: jan jessie
janice: jan
jasmine: jazz
jason: jay
jean: jeannie
jeanette: jean jenny nettie
jeannette: jean jenny nettie
jedidiah: jed
jefferson: jeff
jeffrey: jeff geoff
jeffery: jeff geoff
jennifer: jen jenny jenn jennie
jeremiah: jerry jem
jeremy: jerry jem
jerome: jerry
jerrold: jerry
jerold: jerry
jerald: jerry
danforth: dan
elbert: al bert
norvell: norv
chancellor: chan
thurman: thurm
whitney: whit
whitfield: whit
whitman: whit
marylou: mary lou
mckinley: mac kin
jessica: jess jessie
jesse: jess
jesus: chuy
jillian: jill
joan: joanie jo
joanna: jo joan
joanne: jo joan
jocelyn: joss lynn
joel: jo
john: jack johnny jackie johnnie jock
johann: john
johannes: hans john
jonathan: jon john johnny jonny
jonathon: jon john johnny
jordan: jordy
jorge: george
jose: pepe joe
josefina: fina
joseph: joe joey jo jos
josephine: jo josie josey fina jojo
joshua: josh
josiah: joe
joyce: joy
juan: john juanito
juanita: nita
judith: judy judi judie
judson: jud
julia: julie jules
julian: jules
juliana: julie
juliet: julie
julius: jules
justin: jus
katarina: kat
kateri: kat
katelyn: kate katie
katharine: kathy kate katie kat kay kit kitty
katherine: kathy kate katie kat kathie kay kit kitty kathleen kath kathi trina
kathleen: kathy kate katie kat kathie kay kath kathi
kathryn: kathy kate katie kat kathie kay kitty kath kathi
katrina: kat trina katie
kayla: kay
keith: kei
kelley: kel
kelly: kel
kendall: ken
kendra: ken
kenneth: ken kenny
kermit: kerm
kevin: kev
kimberly: kim kimmy
kimberley: kim kimmy
kirsten: kirstie
konstantin: kostya
kristen: kris kristy chris
kristin: kris kristy chris
kristina: kris tina kristy chris
kristine: kris tina kristy chris
kristopher: kris chris
lafayette: lafe
lancelot: lance
laura: laurie lori lolly
lauren: laurie ren
laurence: larry laurie lonnie
lavinia: vinnie
lawrence: larry laurie lars lawrie
leander: lee
lee: leroy
lemuel: lem
lenora: nora
leo: lee
leon: lee leo
leona: lee
leonard: len lenny leo leonardo lennie
leonardo: leo
leonora: nora leo
leopold: leo
leroy: lee roy
leslie: les
lester: les
letitia: tish lettie
levi: lee
lillian: lil lily lilly lillie
lillie: lil
lincoln: linc
linda: lin lindy lynn
lindsay: lin
lisa: liz
lloyd: floyd
loretta: lori etta retta
lorenzo: larry loren enzo
lorraine: lori rainey
louis: lou louie
louisa: lou lulu
louise: lou lulu
lourdes: lulu
lucas: luke
lucian: lou
lucille: lucy lu
lucinda: cindy lucy
lucretia: creesy
luis: lou
luther: lou
lydia: liddy
lyndon: lyn
mabel: mae
mackenzie: mac kenzie
madeleine: maddie maddy
madeline: maddie maddy lena
madison: maddie maddy
magdalena: maggie lena magda
magdalene: maggie lena
malachi: mal
malcolm: mal
manuel: manny manolo
marcella: marcie
marcia: marcie
marcus: marc mark
margaret: maggie meg peggy marge margie madge greta rita daisy peg margo meggie midge maisie mags margy
margarita: rita maggie
marguerite: maggie rita margo
maria: mary marie mia
mariah: mary
marian: mary
marianne: mary
marie: mary mae
marietta: etta
marilyn: mary lynn
marion: mary
marjorie: marge margie marj
mark: marky
marlene: marla
marsha: marcie
marshall: marsh
martha: marty mattie patty patsy
martin: marty mart
martina: tina
marvin: marv
mary: molly polly mae mamie mollie may
mathew: matt
mathias: matt
matilda: tilda tillie mattie tilly
matthew: matt matty mat
matthias: matt
maureen: mo mary
maurice: maury morry mo
maxine: max
maximilian: max
maximillian: max
maxwell: max
megan: meg
melanie: mel
melinda: mindy linda mel
melody: mel lodi
melissa: missy mel lissa
melvin: mel
mercedes: mercy
meredith: merry
michael: mike mickey mick mikey micah micky mitch
michaela: mickie
michelle: shelly missy micki mickey shelley chelle
miguel: mike
mikhail: misha mike
mildred: millie
millicent: millie missy
milton: milt
minerva: minnie
miranda: randy mandy
miriam: mimi mitzi
mitchell: mitch
mohammed: mo mohd mhd
mohammad: mo mohd md
monica: monnie
montgomery: monty gum
mordecai: mort
morris: morry mo
mortimer: mort
morton: mort
moses: mo moe
nadine: dee
nancy: nan
naomi: omi
napoleon: nap
natalia: natasha nat talia
natalie: nat
natasha: tasha nat
nathan: nate nat
nathaniel: nate nat nathan natty
nehemiah: nemo
nelson: nels
nicholas: nick nicky nico claus
nicolas: nick nicky nico
nicole: nikki nicki nicky cole
nikita: nick
nikolai: nick kolya
nora: norrie
norbert: bert norb
norma: normie
norman: norm
obadiah: obed
octavia: tave
olga: olya
oliver: ollie
olivia: liv livvy ollie
omar: mar
orlando: lando
orville: orv
oscar: ozzie
oswald: ozzie waldo
pamela: pam
parker: park
patience: pat
patricia: pat patty tricia trish patsy patti trisha
patrick: pat paddy rick patsy
paul: pauly
paula: polly
paulina: polly lina
pauline: polly
penelope: penny nell
percival: percy
perry: per
peter: pete petey
philip: phil pip
phillip: phil pip
phineas: finn
phyllis: phyl
porter: port
preston: pres
priscilla: cilla prissy
prudence: prue
rachel: rae shelly
rafael: rafe rafa
ralph: ralphie
ramon: ray moncho
randall: randy rand
randolph: randy dolph
raphael: rafe
raul: ray
raymond: ray
raymundo: ray
rebecca: becky becca reba beck
regina: gina reggie
reginald: reggie reg
reuben: ben rube
rhoda: rho
ricardo: rick ricky rich
richard: rick dick rich ricky richie ritchie dickie rickey
robert: bob rob bobby robbie bert robby robin bobbie
roberta: bobbie bertie robbie
roberto: bob beto rob
roderick: rod rick roddy
rodney: rod
rodolfo: rudy
rogelio: roger
roger: rog rodge
roland: rollie rolly
ronald: ron ronnie ronny
rosa: rosie
rosalie: rose rosie
rosalind: roz rose
rosamond: roz
roscoe: ross
rose: rosie
roseanne: rose
rosemary: rose rosie
rowland: rollie
roxanne: roxy rox
ruben: ben
rudolph: rudy dolph
rufus: rufe
rupert: rupe bert
russell: russ rusty
ruth: ruthie
salvador: sal chava
salvatore: sal
samantha: sam sammy
samson: sam
samuel: sam sammy
sandra: sandy sandi
sara: sally sadie
sarah: sally sadie sal
saul: solly
scott: scotty
sebastian: seb bastian
selina: lina
serena: rena
sergei: serge
seymour: morey
shannon: shan
sharon: sharie shari
shaun: sean
sheila: shel
sheldon: shelly shel
shelby: shel
sherman: sherm
sherwood: woody
shirley: shirl
sidney: sid
sigmund: sig
silas: si
silvester: sly
simeon: sim si
simon: si
solomon: sol sal solly
sonia: sunny
sophia: sophie
spencer: spence
stacey: stace
stanley: stan
stella: essie
stephanie: steph stephie stevie annie
stephen: steve stevie steph
stefan: steve
steven: steve stevie
stewart: stew stu
stuart: stu
susan: sue susie suzie suzy sukie susi
susana: susie sue
susanna: sue susie
susannah: sue susie anna hannah
suzanne: sue suzie suzy
sydney: syd
sylvester: sly vester
sylvia: syl
tabitha: tabby
tamara: tammy tam
tamar: tammy
tanya: tan
tatiana: tanya
teresa: terry terri tess tessie resa tracy
terence: terry
terrance: terry
terrell: terry
terrence: terry
thaddeus: thad tad ted
thelma: thel
theodora: dora theo thea
theodore: ted theo teddy dory
theodosia: theo
theresa: terry terri tess tessie tracy reese
thomas: tom tommy thom tommie
tiffany: tiff
timothy: tim timmy
tobias: toby
tomas: tom
tracy: trace
travis: trav
trevor: trev
trinity: trin
tristan: tris
tyler: ty
tyrone: ty
ulysses: lys
ursula: ursa
valentina: val
valentine: val
valerie: val
vanessa: nessa
vernon: vern
veronica: ronnie roni vera
vicente: chente
victor: vic
victoria: vicky vicki tori torie tory vickie vic
vincent: vin vince vinny vinnie
vincenzo: vince enzo
viola: vi
violet: vi
virgil: virge
virginia: ginny ginger gina virgie jinny
vivian: viv
vladimir: vlad vova volodya
wallace: wally
walter: walt wally wat
warren: ren
washington: wash
wendell: wen
wesley: wes
wilbert: bert will
wilbur: will
wilfred: will fred
wilfrid: will fred
wilhelmina: mina minnie willa billie
willard: will bill
william: bill will billy willie willy liam wm wilhelm wills
winfield: win field
winfred: win fred
winifred: winnie freddie fred
winona: winnie
winston: win
woodrow: woody wood
yekaterina: katya kate
yevgeny: zhenya gene
yolanda: yoli yo
yvonne: vonnie
zachariah: zach zack zachary
zachary: zach zack
zebulon: zeb
zedekiah: zed
"""

# Spellings, translations and written abbreviations of one name. Any two names of a line agree.
_SPELLINGS = """
ahmed ahmad ahmet achmed
aisha ayesha aishah aysha
alan allan allen alain
alastair alistair alasdair alister
alec alek aleck
aleksandr aleksander alexandr alexander alexandre oleksandr alessandro alejandro aleksandre
aleksey aleksei alexei alexey alexi
ali aly
alisa alyssa alissa
alison allison alyson
amy aimee amie
ana anna
andrei andrey andriy andrej
andrew andre andreas andres andrzej anders
ann anne ana
anthony antony
arthur arturo artur
ashley ashleigh ashlee
benjamin benjamen
bernard bernhard
brian bryan brien bryon
britney brittany brittney
bruce brus
caitlin kaitlyn katelyn kaitlin caitlyn
carl karl
carol carole karol carroll
caroline carolyn karoline carolina
catherine katherine kathryn katharine cathryn catharine katarina ekaterina yekaterina catalina
cecilia cecelia
charles chas carlos karl
cheryl sheryl
chris kris
christian kristian cristian
christina kristina cristina krystyna
christine kristine
christopher kristopher cristopher
cindy cyndi
clare claire clair
colin collin
connor conor conner
craig kraig
daniel danial
darrell daryl darryl darrel
david dave davide
deborah debra debora
denis dennis denys
diana dianna
diane dianne dian
dmitri dmitry dimitri dmitrii dmytro
dominic dominick dominik
dorothy dorothea
edmund edmond
edward eduardo eduard edvard
eileen aileen
elena helena yelena
elizabeth elisabeth elisabet elizaveta
eric erik erick
esther ester
eugene evgeny yevgeny evgeni yevgeni
evan yvan
fatima fatimah fatma
felipe philip phillip filip philippe
francis francois francisco francesco
frederick fredrick frederic fredric friedrich frederik federico
gail gayle gale
gary garry
gavin gaven
geoffrey jeffrey jeffery jeffry
george georg jorge georges georgios giorgio
gerald jerald
gerard gerhard gerardo
gillian jillian
giovanni john johann johannes ivan juan jan jean joao jon sean ioannis
glen glenn
gregory gregor grigory gregorio
guillermo william wilhelm guillaume wm willem
gustav gustave gustaf gustavo
hannah hanna
harold harald
hassan hasan hassen
helen helene ellen
henry henri enrique heinrich henrik
hussein hussain husain husein hossein
hugh hugo
ian iain
igor ihor
ilya ilia
ioannis yannis
isaac isaak
isabel isabelle isobel ysabel
ismail ismael
jacob jakob jacobo
jacqueline jacquelyn
jaime jamie jayme
james jas jaime
jasmine jasmin yasmin yasmine
jeannette jeanette janette
jennifer jenifer
joanne joann joanna johanna
jonathan jonathon johnathan johnathon jonathen
joseph jos josef jose giuseppe yusuf youssef iosif
josiah josias
julia julie giulia yulia
julian julien
karen karin caren
katie katy kati
kathleen cathleen
kelly kelli kellie kelley
kenneth keneth
kimberly kimberley
konstantin constantine
kristen kristin kirsten
laura lora
lauren loren
laurence lawrence lorenzo
lee leigh
lea leigh leah
lewis louis luis
leslie lesley
lillian lilian
linda lynda
lindsay lindsey
lisa leesa
lois loise
louise luisa louisa
lucas lukas luke luca
lucy lucie lucia
luke luc
lynn lynne lin
madeline madeleine madelyn
manuel emanuel emmanuel
marc mark marcus marcos marco
margaret margarita marguerite margarett
marianne maryann mariann
marilyn marylin
marion marian
martha marta
martin martyn
matthew mathew matteo mateo mathieu matt
megan meghan meagan
michael micheal mikhail miguel michel mikael mykhaylo mychal
michelle michele
miriam maryam mariam
mohammed muhammad mohamed mohammad mohamad muhammed mohd muhamad mehmet mahomet md mohd
mustafa moustafa mostafa
natalia natalya nataliya
nathaniel nathanael
nicholas nicolas nikolas nikolaus
nicole nichole
nikolai nikolay mykola nicolai
olga olha
oliver olivier
omar omer umar
osama usama
paul pablo paolo pavel pawel
peter pedro pyotr piotr petro pierre pieter
philip phillip
rachel rachael raquel
ralph rolf
raymond ramon raymundo
rebecca rebekah
richard ricardo rikard
robert roberto
robin robyn
roger rodger
ronald reynaldo
ross rosse
russell russel
said saeed sayed
samir sameer
samuel samuil
sandra sondra
sara sarah
sean shaun shawn
sergei sergey serge serhiy sergio
sharon sharron
sheila shelia
shelly shelley
sofia sophia sophie
stacy stacey
stephanie stefanie
stephen steven stefan stephan esteban steffen stefano
stuart stewart
susan suzanne susanne susanna susannah susana
sydney sidney
teresa theresa therese
terrance terrence terence
thomas tomas thos tomasz
timothy timothee
tracy tracey traci
tatiana tatyana tetyana
valerie valery
vasily vasili vasyl
vicky vicki vickie
victor viktor
victoria viktoria
vincent vicente vincenzo
vladimir volodymyr wladimir wolodymyr
walter walther
william wm
yuri yury yuriy iurii
yusuf yousef youssef yousuf yosef
zachary zachery zackary
abdul abdel abd abdal
abdullah abdallah abdulla
gaddafi qaddafi
jamal gamal
qasim kassem qassem
tariq tarek tarik
wei way
khalid khaled
mahmoud mahmud mehmood
nasser nasir nasr
ibrahim ebrahim ibraheem
yasir yasser
rivka rebecca rebekah rivkah rebeka rebeca
reuven reuben ruben rubin
devorah dvora deborah debora devora dvorah
moshe moses moishe
yitzhak isaac yitzchak itzhak izak isak itzchak
yaakov jacob yakov yaacov yakob
yosef joseph josef yusuf youssef yousef yusef youssouf yousuf youcef josip jozef
yehuda judah yehudah jehuda
yehoshua joshua jehoshua
shmuel samuel
shlomo solomon
shimon simon simeon
avraham abraham avrohom ibrahim ebrahim ibraheem brahim
eliyahu elijah
ezra esra
yonatan jonathan yehonatan
yoel joel
yona jonah
michal mikhal
miriam myriam
chana hannah hana hanna chanah
chaya haya chayah
sarah sara sarra
rachel rahel raquel
leah lea
naomi noemi
yael yaele jael
esther ester
binyamin benjamin binyomin
efraim ephraim
pinchas pinhas phineas
nachman nahman
tzvi zvi tsvi
zeev zev
chaim haim hayim
uriel ouriel
mohammed muhammad mohammad mohamed muhammed mohamad mohd muhd mohamud mohammod muhamed mohamet mehmet
mahmoud mahmud mahmood mehmood
hamid hameed
rashid rasheed rachid
khalid khaled
tariq tarek tareq tarik
walid waleed oualid
omar umar omer
osama usama oussama
suleiman sulaiman soliman sulayman suleman
mustafa mostafa moustafa mustapha moustapha
abdullah abdallah abdulla abdoullah
jamal gamal djamal
karim kareem
nasser nasir naser
bashir basheer bachir
said saeed saied sayeed
khadija khadijah khadeeja khadijeh
zainab zeinab zaynab zeynab zaineb
maryam mariam maryem meryem
layla leila laila leyla
noor nour nur
amina ameena aminah
aisha aicha ayesha aishah aysha
fatima fatma fatemeh fatimah fatimeh
hossein hussein hussain husein husain hosein huseyin
reza rida ridha
hasan hassan hasen hassen
shoaib shuaib shoeb
qasim kassem kasim qassim
yasir yasser yaser
yusra yousra
sergei sergey serhiy serhii sergii sergiy serge
nikolai nikolay mykola nicolai
mikhail mykhailo mihail michail
andrei andriy andrii
yevgeny evgeny yevhen evgenii yevgeniy evhen
volodymyr vladimir wladimir
dmytro dmitry dmitri dmitriy
oleksiy alexei aleksei oleksii
vasyl vasily vasiliy vasilii
olena elena yelena helena
olha olga
iryna irina
kateryna ekaterina yekaterina katerina
nataliya natalia natalya nataliia
tetiana tatiana tatyana tetyana
svitlana svetlana
lyudmila liudmila ludmila liudmyla lyudmyla
yulia julia yuliya iuliia
anastasia anastasiya anastasiia
georgios giorgos yorgos george
ioannis yannis giannis yiannis
konstantinos costas kostas
dimitrios dimitris demetrios
nikolaos nikos
spyridon spiros spyros spiridon
panagiotis panayiotis panos
eleni elena helen
aikaterini katerina
xiao siao
lakshmi laxmi luxmi
krishna krsna
vijay bijay
jayashree jayasree jayshree jayasri
srinivas shrinivas sreenivas
subramaniam subramanian subrahmanyam subramanyam
venkatesh venkatesha
vishwanath viswanath
aleksandra alexandra oleksandra
stanislav stanislaw
wojciech vojtech
krzysztof christopher krzystof
tomas thomas tomasz tomash
teodoro theodore
rogelio rogerio
ines inez
luis luiz
vitor victor viktor
filipe felipe
tiago thiago
cristovao cristobal
mathieu matthieu mathew
stephane stefan
soren soeren
jorgen joergen
bjorn bjoern
kare kaare
hakon haakon
age aage
asa aasa
thor tor
kristjan christian
gudmundur gudmund
""".strip().split("\n")

# Further names that become another name by one letter. The names in the tables above are such names, too.
_OTHERS = """
erin eric ethan karen sharon carol darrel colin logan evan ewan rohan
adriana adriano aiden alana alba alberta alma alton amari amber amir andrea andy angel angela angelica antonia april ariel arlo
arnie asher ashton athena austin ava axel bella beth betty bill blake bob brad brady brandi brandy brent brett brianna brice brock
brody brooke bryce bryson byron caleb callum cara carla carlo carlota carly carrie carson carter casey cassie cathy celeste chad
chase chelsea chloe clara clark claude claudia claudio clay clifford clint cody cole colton cooper cora corey cory courtney dan
dana dane daniela danny dante daphne darius darla darren dawn dean deanna delia della devin devon dexter diego dion don dora doris
drew dustin dylan easton eddie edna elias elise ella ellie elliot ellis elsa elsie elton emerson emil enzo eric erica erika erma
ethan ethel eva eve evie faye fernanda finn fiona flora floyd forrest fran frank fred freda freddie gabriela gemma gene gia gina
ginger glenda grant greta guy harlan harley harmon harper harry heath heidi hope hunter ida ina ingrid irma isla ivy jack jackson
jada jade jake jan jana jane janelle jared jay jayden jayla jean jeff jenna jenny jerry jess jill jim jimmy jo joan joann jodi
jodie jody joe joey jon jonas josefa josh josie joy juana juanita judy julieta julio june kai kara karen karin karl karla kate
katie kay kaya kayla keira keith kelsey ken kendra kenny kent kerri kerry kiara kim kira kirk kobe kris kristi kurt kyla kyle
kylie kyra lacey lana lance landon lane lara larry lars latoya layla leah lena leo leon leona leroy lexi liam lila lily lina linus
lionel liz logan lola lonnie lora lorena lori lorna lou luca lucia luciana luciano luis luisa lula luna lydia lyle lynn mabel mae
maggie maia malik mandy manuela mara marcela marcelo marcia marco margo mari maria mariana mariano mario marisa marissa marla
marlon marta marty mary mason mateo mattie maud maura max maya melody mia micah mike miles millie milo mina minnie mitch moira
mona morgan muriel myra myron nadia nancy nash nate neal neil nell nellie nicola nina noah noel nolan nora nyla ola olive ollie
opal ora orin otis otto owen paige pam paola paris patsy paula paulette peggy penny percy pete phil phoebe pierce piper quinn
ramona randi randy raquel ray reece reed reese renee rex rhonda rick ricky riley rita rob robbie roberta rocky roman romeo ron
ronnie rory rosa rosalie rosie rowan roy ruby rudy ryan ryder sadie sally sam savannah sawyer selena serena seth shari shaun shea
sheri sherri sherry sierra silvia silvio simone skye sonia sonya stan stella stephan steve sue summer suzy sylvie tad talia tamara
tami tammy tania tanner tanya tara tasha taylor ted terri terry tess tessa thea theo tia tim tina toby todd tom tommy toni tony
tonya tori trent tricia troy trudy tyson uma val van vance vera verna vernon vicky vince viola vivian wade walt wanda ward wayne
wendy wes willa willie wilma winston wyatt xavier yasmin yvette yvonne zara zoe zoey
"""


def _load() -> tuple[dict[str, list[str]], dict[str, list[str]], dict[str, list[int]], set[str]]:
    formal: dict[str, list[str]] = {}
    forms_of: dict[str, list[str]] = {}
    for line in _FORMS.strip().split("\n"):
        head, _, tail = line.partition(": ")
        forms = tail.split()
        forms_of.setdefault(head, []).extend(forms)
        for form in forms:
            formal.setdefault(form, []).append(head)
    spelled: dict[str, list[int]] = {}
    for number, line in enumerate(_SPELLINGS):
        for word in line.split():
            spelled.setdefault(word, []).append(number)
    return formal, forms_of, spelled, {*formal, *forms_of, *spelled, *_OTHERS.split()}


# Names that people use and that belong to no particular given name.
_BYNAMES = """
ace babe bear beau biff bo boots bubba bud buddy buster butch buzz cap champ chief coach cookie corky deacon doc dub duke dusty
flip gator goose hap happy hoot hoss junior kiki kip mac moose pappy peaches pepper pete pinky pop pops red rocky rusty scooter
shorty sis skip skipper slim smokey sonny sparky spike sugar tank tater tex tiny tip tootsie trey trip tripp whitey woody ziggy
"""
BYNAMES = frozenset(_BYNAMES.split())
FORMAL, FORMS_OF, SPELLED, KNOWN = _load()


def same_spelling(a: str, b: str) -> bool:
    """Return whether two given names, folded, are spellings or translations of one name."""
    groups = SPELLED.get(b, ())
    return any(group in groups for group in SPELLED.get(a, ()))


def is_form_of(a: str, b: str) -> bool:
    """Return whether ``a``, folded, is a short or familiar form of ``b``, or of another spelling of ``b``."""
    heads = FORMAL.get(a, ())
    return b in heads or (b in SPELLED and any(same_spelling(head, b) for head in heads))


def is_mistyped_form_of(a: str, b: str) -> bool:
    """Return whether ``a`` is a form of a formal name that ``b`` misspells by one letter. ``b`` itself is not a known name."""
    if b in KNOWN or len(b) < 5:
        return False
    return any(head[0] == b[0] and within_two(head, b) == 1 for head in FORMAL.get(a, ()))


def is_form_mistyped(a: str, b: str) -> bool:
    """Return whether ``a`` misspells a familiar form of ``b`` by one letter. ``a`` itself is not a known name."""
    if a in KNOWN or len(a) < 4:
        return False
    return any(form[0] == a[0] and len(form) > 3 and within_two(form, a) == 1 for form in FORMS_OF.get(b, ()))


def share_formal(a: str, b: str) -> bool:
    """Return whether two short forms belong to one formal name, as Bill and Will do."""
    heads = FORMAL.get(b, ())
    return any(head in heads for head in FORMAL.get(a, ()))
