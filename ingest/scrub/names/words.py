"""Word lists that tell names from other words, in lowercase. Knows nothing of how they are used."""

from __future__ import annotations

from typing import Final


def listed(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


def _pairs(text: str) -> frozenset[str]:
    return frozenset(" ".join(pair.split()) for pair in text.split(","))


# Words that name recognition mistakes for people in shop chats. Plain English, not places or brands.
COMMON: Final = listed(
    """a about account address after again agent all also am amazing an and any anyone app apologies are as asap at
    available away awesome back bad because been before best better bill black blue bot box brand brilliant business
    but buy buyer by call can cancel card care cart case cash chat check claim code colour come company complaint
    confirm contact correct could credit customer damaged date day days dear debit definitely delay delivered
    delivery details did different disappointed discount do does done double dress each easy else e-mail email emi
    error everyone excellent fantastic feedback fine first food for found free friend from full fully furious gift
    glad go going gone good got great green grocery guys had happy has have he hello help her here hey hi his hope
    how i id if i'm in incorrect indeed info interested invoice is issue it item items its it's just kind kindly
    know last late later let like link live looking lost lot ma'am madam mail manager many maybe me member message
    mine missing mobile more morning most mr mrs ms my name near need new next nice no none nope not nothing now
    number of off ok okay old on once one online only or order ordered orders other our out over overall owner
    package parcel password pay payment per perfect phone please pls plus plz policy possible prime problem product
    profile promise purchase quality question quick quite rather ready really reason received red refund refunded
    regarding regards replacement reply return returned right sad safe sale same satisfied say seller send sent
    service shall she ship shipping shirt shop should sincerely sir size so some someone something sorry status stay
    still stop store sure support system take team tell terrible thank thanks that the their them then there these
    they thing this those thx time title to today tomorrow too total tracking trouble try two ty u ugh unacceptable
    understood unhappy until up upset ur urgent us used user username very via waiting want was we website week
    welcome well were what when where which white who why will wish with within without wonderful working worst
    would wow wrong yeah year yep yes yesterday yet you your yours yup wat wats ya yaa yea kno dunno shud wud cud
    wth wtf omg lol nah hmm hmmm huh duh argh yaar arrey arre yeh matlab ho haan nahi kya karo dude bro man bruh
    while upon itz noww kbye bye takin recvd tomoro tmrw gonna wanna gotta thot deemed gr8 guy guys him itself
    himself herself themselves yourself myself ourselves whom whose thru gimme lemme wht whts hav alrdy soo chk lyk
    obv wot thanku yar gon bday bdays ofcourse ofc smartwatch watchman kyc sms upi cod xyz thts pickup couldnt conf
    pwd dob cvv otp pnr person navy beige teal burgundy maroon khaki turquoise charcoal fuchsia oh ooh aww haha
    promo acct login hoodie hoodies sneaker tshirt thats whats theyre thnx thnks tnx tysm cuz coz bcoz dont cant
    wont didnt ive im its youre january february march april june july august september october november december
    monday tuesday wednesday thursday friday saturday sunday christmas easter diwali halloween anything everything
    anytime moment moments cannot into onto than during since whether towards against although whichever whoever
    money degree degrees guests criteria settings accommodate accomodate rsvp courier billing wallet screenshot
    screenshots redelivery dollars coffee camera luck uh ah kitchen bills memory fridge pizza inbox helpline hotline
    landmark bluetooth pincode timeframe resend unsubscribe reroute rerouting burgers checkout tommorow atleast
    thingy sunshine anymore becoz bcos cos thnk prob nvm btw tbh imo imho idk idc ikr smh fyi lmao lmfao rofl kinda
    sorta ppl abt hv frm tht bt wil wuz waz dey dem ryt enuf bak rlly ridic sumthing sumthin appt appts insta arvo
    convo mins min hrs hr wk wks yr yrs xoxo gf bf bff hubby apartment apartments appartment hotel hotels flight
    flights doctor doctors restaurant restaurants weather afternoon evening tonight noon weekend weekends anybody
    neither either unless through throughout along across below usd gbp eur qty sku faq url wifi bogo rma pps cc bcc
    np yw lil aka etc eg vs ok'd tomorrows todays exp ifsc iban bic bsb ssn imei vin pnr ref tel fax attn fb ig
    saree sarees kurta kurtas kurti lehenga dupatta salwar bartender xmas mom's driver's everybody's"""
)
# Some are names too; beside another one they are the colour.
COLOURS: Final = listed(
    """red blue green black white grey gray brown pink purple orange yellow navy teal beige maroon burgundy turquoise
    charcoal khaki cream tan silver gold olive ruby jade amber violet rose ivory pearl hazel sage coral scarlet
    lavender lilac indigo crimson magenta cyan peach mint emerald sapphire topaz opal ginger"""
)
# What customers who write in other languages say in a shop, beyond those languages' commonest words.
FOREIGN: Final = listed(
    """hallo guten tag danke bitte bestellung paket lieferung geschickt bestellt angekommen kaputt geld rechnung konto
    adresse nummer frage hilfe heiße heisse meine wurde hola gracias por favor pedido paquete envío envio enviado
    llegado roto dinero factura cuenta dirección direccion número numero pregunta ayuda llamo nombre quiero tengo
    bonjour bonsoir merci commande colis livraison envoyé arrivé cassé argent facture compte adresse numéro question
    aide appelle nom voudrais ciao grazie prego ordine pacco consegna spedito arrivato rotto soldi fattura conto
    indirizzo numero domanda aiuto chiamo nome vorrei hallo dank bestelling pakket levering verstuurd aangekomen
    kapot geld factuur rekening adres nummer vraag hulp naam olá obrigado obrigada encomenda pacote entrega enviado
    chegou partido dinheiro fatura conta endereço endereco pergunta ajuda chamo hej tack beställning paket leverans
    skickat pengar faktura konto adress fråga hjälp heter dzień dobry dziękuję proszę zamówienie paczka dostawa
    pieniądze faktura konto adres pytanie pomoc nazywam imię kya hai nahi mera meri kab tak karo karna karu bhai bhi
    toh aap mujhe"""
)
# Common words that are a name where only a name is expected: as a signature, as the answer to 'your first name?'.
NAMES_WHERE_EXPECTED: Final = listed("april august bill guy hope june may ty will")
# Countries, states and large cities, then shops and brands: they look like names, or small models take them for names.
PLACES: Final = listed(
    """ahmedabad bangalore bandra bengaluru berlin bhopal bombay boston chandigarh chennai chicago cochin coimbatore
    dallas delhi denver dubai dublin goa gurgaon gurugram hyderabad indore jaipur kanpur karachi kochi kolkata
    lahore lagos london lucknow madrid miami milan mumbai munich mysore nagpur nairobi nashik noida paris patna pune
    seattle surat sydney tokyo toronto vadodara adelaide albuquerque alexandria america amsterdam anchorage ankara
    antwerp argentina arlington asia athens atlanta auckland austin australia austria baltimore bangkok barcelona
    baton beijing belgium birmingham boise bordeaux brasil brazil bristol britain brooklyn brussels bucharest
    budapest buffalo burbank burma cairo calgary cambridge canada canberra caracas cardiff charlotte chelsea chile
    china chula cincinnati cleveland cologne colombia columbia columbus copenhagen cordoba cuba cyprus denmark
    detroit durham edinburgh egypt england ethiopia europe fargo florence france frankfurt fresno geneva georgia
    germany ghana glasgow greece guatemala hamburg hanoi havana helsinki holland honolulu houston hungary iceland
    india indiana indianapolis indonesia iran iraq ireland israel istanbul italy jackson jacksonville jakarta
    jamaica japan jersey jerusalem johannesburg jordan kansas kenya kiev kingston korea kuwait kyoto laredo leeds
    lebanon leon lima lincoln lisbon liverpool louisville lubbock lyon macedonia madison malaysia malta manchester
    manila marseille melbourne memphis mexico minneapolis monaco monterey montreal morocco moscow naples nashville
    nepal netherlands nevada newark nigeria norfolk norway oakland omaha orlando osaka oslo ottawa oxford pakistan
    palermo panama paraguay perth peru philadelphia phoenix pittsburgh plano poland porto portland portugal prague
    quebec queens raleigh reno richmond rio riverside rochester romania rome rotterdam russia sacramento salem samoa
    santiago santos savannah scotland scotts scottsdale senegal seoul seville shanghai siena sierra singapore spain
    spokane stockholm stuttgart sudan sweden switzerland syracuse syria tacoma taiwan tampa tel thailand toledo
    trinidad tucson tulsa tunisia turin turkey uganda ukraine uruguay valencia vancouver vegas venezuela venice
    verona vienna vietnam wales warsaw washington wellington wichita worcester york zurich alabama alaska arizona
    arkansas california carolina colorado connecticut dakota delaware florida georgia hawaii idaho illinois iowa
    kentucky louisiana maine maryland massachusetts michigan minnesota mississippi missouri montana nebraska
    hampshire ohio oklahoma oregon pennsylvania rhode tennessee texas utah vermont virginia wisconsin wyoming
    ontario manitoba alberta saskatchewan scotia tasmania victoria queensland"""
)
BRANDS: Final = listed(
    """amazon apple ebay flipkart google myntra nokia paytm samsung sony swiggy walmart whatsapp zomato adidas alexa
    armani asus barbie bosch boss burberry calvin canon casio chanel chromecast cortana costco dell dior disney
    dyson echo epson fendi ferrari fitbit fossil galaxy garmin gucci guess hermes hilfiger honda honor huawei ikea
    iphone ipad imac macbook airpods instagram kindle klein kors lacoste lego lenovo levi levis lexus lg lyft macy
    macys mattel mercedes michelin microsoft moto motorola netflix nike nikon nintendo nordstrom oneplus oppo
    panasonic paypal philips pixel playstation prada puma realme redmi reebok rolex siemens siri sephora spotify
    target tesla tesco toshiba toyota twitter uber vivo xbox xiaomi youtube zara"""
)
# Names that are also English verbs, adjectives or adverbs: what a model finds is believed of these.
WORDS_ALSO_NAMES: Final = listed(
    """art bill bob buck carol chance chase chuck clay dawn dean drew earnest ernest faith frank gene grace grant
    harry jack jay jenny jerry jimmy josh ken lance lee mark matt max may melody merry miles nick norm pat patsy
    pearl penny pierce ray rich rob robin rod rose roger ruby rusty sandy skip stew sue summer ted tony victor wade
    ward will woody"""
)
# First names that are plain English words too: alone and in lowercase they are the words.
NAMES_ALSO_WORDS: Final = listed(
    """abbey ada ai aide al ali alpha america an ana angel angle april ara art asia august aura aurora autumn barb bari
    bart basil beau bee bell belle berry bill birdie blake blanch blossom bong booker brain brandy brant brook
    brooks buck bud buddy bunny burl burt burton buster candida candy caprice carry carson carter cedar celesta chan
    chance chang chara charity chase chastity cherish cherry chi chin china christian christie clay clement cliff
    cole concha constance cooper cora coral cordia corrie coy crystal dahlia daisy dale dane dawn dean deb dell
    delta desire destiny dewey dexter diamond dick dimple dixie dolly don dona dong dot dotty drake drew duke dung
    dusty earl earnest easter ebony echo ed eddy eden ela emerald era ester eve fae fairy faith fanny fawn fay fe
    fern fletcher flora fonda ford forest foster frank freeman gala gale garland garnet garret gay gene genesis
    genie german gia gilbert ginger glen glory golden grace grant gray guy ha halley han hang hank harmony harry
    hazel heath heather henry herb hector hill holly homer honey hope hue hunter hyacinth ice ida ike in inga inger
    ira iris irish ivory ivy jack jade jade jan jay jean jewel ji josh joy july june jung junior ka kale kali karma
    kasha kelvin ken kenya kera kina king kip kit kitty krishna la lacy lady lan lance lane laurel le lea lean leda
    lee leigh levy li libby liberty lien lilac lily lin ling lo loan long lory love lu luna ma mac mack magnolia
    major mali mallory man manual many mao maple mara marge marina marine mark marlin marquis marry marshall martin
    marvel mary mason matt max may maya me mei melba melia melody mercer mercy merle merlin merry mi mica mickey
    mike miles min minerva ming miss missy misty mo moon morris mort morton my na nada nan neva newton nick noble
    noel nor norm norma nova novella nu nubia numbers oak odessa ok ola olive olympia omega opal oscar otis pa page
    paige paisley palmer pandora pansy paris park parker pasty pat patience patty pearl pearly peg penny peony perry
    pet piper pilar ping porter precious price prince princess prudence queen rain rana rand raven ray reed reef
    reese regina rex rich rick rico ring rob robin rock rocky rod roman rome romeo rose rosemary rosette rosy royal
    ruby russell rusty ruth sabine sabra sade sage sal sally salome sam sand sandy sang santa sari saul scarlet
    scott scottie season see selene september shad shan shasta shay shelly sherry shin shiloh sierra silver sky so
    sol son song soon sophia sparkle spencer spring stan star starr sterling stormy sue summer sun sung sunny
    sunshine ta tad tai tam tan tandy tanner tara tate tatum tawny taylor ted teddy temple tequila tera thea tia
    tiara tiny tod toy tory tracy trey trinity true tu tuesday tyler un unique ute val valentine van vanilla vanity
    veda vena venus vera vernon vesta vi viola violet virgil viva wade walker wally wan wanda ward warner warren wen
    wes west will willow windy winter wood yang yen yes yi yon young zen zola zona"""
)
# Brands and other things that have a person's name.
BRAND_PEOPLE: Final = _pairs(
    """calvin klein, michael kors, ralph lauren, tommy hilfiger, marc jacobs, kate spade, tom ford, hugo boss, jack
    daniels, jimmy choo, levi strauss, michael jordan, air jordan, louis vuitton, victoria secret, victoria's
    secret, mary kay, estee lauder, elizabeth arden, vera wang, donna karan, perry ellis, stella artois, ben
    sherman, ted baker, dolce gabbana, tory burch, vera bradley, steve madden, bobbi brown, charlotte tilbury, harry
    potter, mickey mouse, paul smith, alexander mcqueen, karen millen, jo malone, johnny walker, johnnie walker, dr
    martens, james bond, laura ashley, laura mercier, eddie bauer, abercrombie fitch, johnson johnson, jack
    wolfskin, helly hansen, daniel wellington, harley davidson, aston martin, ben jerry, lee cooper, peter england,
    merry christmas, jasmine rice, jasmine tea,
    allen solly, van heusen, louis philippe, raymond weil, pepe jeans, marks spencer, john lewis, trader joe, trader
    joes, aunt jemima, captain marvel, santa claus, teddy bear, barbie doll, dyson airwrap, jordan brand,
    dr pepper, dr dre, mr clean,
    mr coffee"""
)
