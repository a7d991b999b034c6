"""Words that almost every sentence of a language has, for languages in Latin letters. Data of `language_mix`.

English carries the words of spoken-out arithmetic too, since a line such as "ones: 9 times 6, carry 5" has no
other. Words that several languages share are harmless: only words that are not the language's own count against it.
"""

STOPWORDS = {
    "en": "the of and to in is it that for was on are as with be by this we have has from or had not but what "
    "all were when there can an your which their if do will each how out then so these would let now need "
    "since thus therefore hence i you he she they at no a one ones ten tens two my me us our its his her "
    "them some more than also just where step steps start add adds added plus minus subtract subtracting "
    "multiply multiplied times divide divided equal equals equation value number numbers answer result "
    "total sum product check write carry borrow digit digits wait find first second next given get gets "
    "got gives using use solve simplify per final cost costs many much left solution reasoning problem "
    "correct wrong real case cases both sides root roots integer integers factor",
    "fr": "le la les des du une est et dans que qui pour pas sur avec sont cette nous vous ils elle mais donc "
    "ainsi être avons ont leur plus par aux ce ces soit alors comme si deux où très fait peut trouver "
    "somme nombre égale",
    "de": "der die das und ist nicht ein eine einen mit sich auf für von dem den des wir werden wird auch sind "
    "oder wie wenn dass haben hat aber zum zur bei nach noch nur über als also damit dann durch es ich "
    "sie zahl gleich",
    "es": "el los las una es y en que de del por con para se como pero más son está este esta lo su al sus hay "
    "entonces también porque cuando donde tenemos si ser puede número suma igual",
    "it": "il lo gli della delle dei di che è e un una per non con sono del nel nella questo questa come più "
    "anche ma abbiamo dunque quindi se si ci essere può numero somma uguale alla",
    "pt": "o os uma é e em que do da dos das para com não por mais como mas se ao são foi também então temos "
    "isso este esta quando onde pode ser número soma igual",
    "nl": "de het een en van ik dat die niet zijn op aan met voor er maar om dan zou wat mijn dit zo door over "
    "zij ook hebben wordt worden naar deze getal som gelijk aantal wij",
    "pl": "nie jest się na to że do jak ale co za tak czy po od dla przez jego więc są liczba oraz być który które",
    "sv": "och att det som en på är av för med den till inte om ett han men var jag från vi så kan när hur är talet",
    "da": "og det at en den til er som på de med han af for ikke der var mig sig men et har om vi min havde nu tallet",
    "tr": "ve bir bu için ile olarak daha çok gibi olan var değil ne kadar sonra ama ise her sayı eşittir toplam",
    "id": "yang dan di itu dengan untuk tidak ini dari dalam akan pada juga saya adalah ke karena bisa ada oleh "
    "kita jumlah angka sama maka",
    "vi": "và của là có trong được cho không với các một này đã để những người khi đó số tổng bằng",
    "ro": "și este în nu la cu pe de care din pentru sunt mai că un o dar ce au fost sau acest numărul suma",
    "fi": "ja on ei se että oli hän mutta ovat kun niin kuin myös jos tai tämä luku summa",
    "cs": "je se na že to jsou jako ale pro tak by nebo když jeho který která číslo součet",
    "hu": "és hogy nem az egy is van ez csak meg már de ha mint volt vagy szám összeg",
}
