"""Word lists for telling names from other words. Lower case; knows nothing of how they are used."""

from __future__ import annotations

from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words that name recognition mistakes for people in shop chats. Plain English, not places or brands.
COMMON: Final = _words(
    """a about account address after again agent all also am amazing an and any anyone app apologies are as asap at
    available away awesome back bad because been before best better bill black blue bot box brand brilliant business but
    buy buyer by call can cancel card care cart case cash chat check claim code colour come company complaint confirm
    contact correct could credit customer damaged date day days dear debit definitely delay delivered delivery details
    did different disappointed discount do does done double dress each easy e-mail email emi error everyone excellent
    fantastic feedback fine first food for found free friend from full fully furious gift glad go going gone good got
    great green grocery guys had happy has have he hello help her here hey hi his hope how i id if i'm in incorrect
    indeed info interested invoice is issue it item items its it's just kind kindly know last late later let like link
    live looking lost lot ma'am madam mail manager many maybe me member message mine missing mobile more morning most
    mr mrs ms my name near need new next nice no none nope not nothing now number of off ok okay old on once one online
    only or order ordered orders other our out over overall owner package parcel password pay payment per perfect phone
    please pls plus plz policy possible prime problem product profile promise purchase quality question quick quite
    rather ready really reason received red refund refunded regarding regards replacement reply return returned right
    sad safe sale same satisfied say seller send sent service shall she ship shipping shirt shop should sincerely sir
    size so some someone something sorry status stay still stop store sure support system take team tell terrible thank
    thanks that the their them then there these they thing this those thx time title to today tomorrow too total
    tracking trouble try two ty u ugh unacceptable understood unhappy until up upset ur urgent us used user very via
    waiting want was we website week welcome well were what when where which white who why will wish with within
    without wonderful working worst would wow wrong yeah year yep yes yesterday yet you your yours yup
    wat wats ya yaa yea kno dunno shud wud cud wth wtf omg lol nah hmm hmmm huh duh argh yaar arrey arre yeh matlab ho
    haan nahi kya karo dude bro man bruh while upon itz noww kbye bye takin recvd tomoro tmrw gonna wanna gotta thot
    deemed gr8 thnx thnks tnx tysm cuz coz bcoz dont cant wont didnt ive im its youre
    january february march april june july august september october november december monday tuesday wednesday thursday
    friday saturday sunday christmas easter diwali halloween"""
)
# Large cities and shops that a small model takes for people.
PLACES: Final = _words(
    """ahmedabad amazon apple bangalore bandra bengaluru berlin bhopal bombay boston chandigarh chennai chicago cochin
    coimbatore dallas delhi denver dubai dublin ebay flipkart goa google gurgaon gurugram hyderabad indore jaipur kanpur
    karachi kochi kolkata lahore lagos london lucknow madrid miami milan mumbai munich mysore myntra nagpur nairobi
    nashik noida nokia paris patna paytm pune samsung seattle sony surat swiggy sydney tokyo toronto vadodara walmart
    whatsapp zomato"""
)
# Names that are also English verbs, adjectives or adverbs; the recogniser's word is enough for them.
ALSO_NAMES: Final = _words(
    """art bill bob buck carol chance chase chuck clay dawn dean drew earnest ernest faith frank gene grace grant
    guy harry jack jay jenny jerry jimmy josh ken lance lee mark matt max may melody merry miles nick norm pat patsy
    pearl penny pierce ray rich rob robin rod rose roger ruby rusty sandy skip stew sue summer ted tony victor wade
    ward will woody"""
)
