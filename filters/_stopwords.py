"""Words that almost every sentence of a language has, for languages that share their script. Data of `_language`.

English carries the words of spoken-out arithmetic too, since a line such as "ones: 9 times 6, carry 5" has no
other. Words that several languages share are harmless: they count neither for nor against any of them.
"""

STOPWORDS = {
    "en": "what who why does did many about write explain the of and to in is it that for was on are as with be by "
    "this we have has from or had not but all were when there can an your which their if do will each how out "
    "then so these would let now need since thus therefore hence i you he she they at no a one ones ten tens "
    "two my me us our its his her them some more than also just where step steps start add adds added plus "
    "minus subtract subtracting multiply multiplied times divide divided equal equals equation value number "
    "numbers answer result total sum product check carry borrow digit digits wait find first second next "
    "given get gets got gives using use solve simplify per final cost costs much left solution reasoning "
    "problem correct wrong real case cases both sides root roots integer integers factor",
    "fr": "comment pourquoi quel quelle combien quoi moi tu mes ma mon cet entre à y le la les des du une un et est "
    "dans que qui pour pas sur avec sont cette nous vous ils elle mais donc ainsi être avons ont leur leurs "
    "plus par aux au ce ces soit alors comme si deux où très fait peut trouver qu il en ne son sa ses notre "
    "votre vos nos car ou sous tout tous toutes peuvent quels quelles également voici aussi cela somme nombre "
    "égale",
    "de": "warum wieviel welche welcher mir der die das und ist nicht ein eine einen einer einem mit sich auf für "
    "von dem den des wir werden wird auch sind oder wie wenn dass haben hat aber zum zur bei nach noch nur "
    "über als also damit dann durch es ich sie er ihre ihr sein seine kann können diese dieser dieses im am "
    "um aus mehr sehr war zahl gleich",
    "es": "cómo qué cuál cuánto cuántos cuándo quién a mi el los las una un es y en que de del la por con para se "
    "como pero más son está este esta lo su sus al hay entonces también porque cuando donde tenemos si ser "
    "puede pueden aquí sin sobre entre muy todo todos o había te tu tus desde hasta cada número suma igual",
    "it": "cosa quanto quale perché il lo la gli i le della delle dei degli di che è e un una per non con sono del "
    "nel nella nelle questo questa come più anche ma abbiamo dunque quindi se si ci essere può possono dell "
    "nell all dall sull al alla alle ai da su tra loro suo sua tuo tua tuoi molto ogni ecco in numero somma "
    "uguale",
    "pt": "qual quanto quem o a os as um uma é e em que de do da dos das para com não por mais como mas se ao aos à "
    "às são foi também então temos isso este esta quando onde pode podem ser no na nos nas pelo pela seu sua "
    "seus suas sem sobre entre muito aqui você está estão tem ele ela eles já até número soma igual",
    "nl": "hoe waarom hoeveel wie welke de het een en van ik dat die niet zijn op aan met voor er maar om dan zou "
    "wat mijn dit zo door over zij ook hebben wordt worden naar deze in is te als bij of kan getal som gelijk "
    "aantal wij",
    "pl": "nie jest się na to że do jak ale co za tak czy po od dla przez jego więc są w z i o oraz być który które "
    "liczba",
    "sv": "och att det som en på är av för med den till inte om ett han men var jag från vi så kan när hur i de talet",
    "da": "og det at en den til er som på de med han af for ikke der var mig sig men et har om vi i kan havde nu "
    "tallet",
    "tr": "nedir mi mı mu mü hangi nerede zaman kaç kim neden ve bir bu için ile olarak daha çok gibi olan var "
    "değil ne kadar sonra ama ise her en de da veya nasıl olduğu olduğunu tarafından arasında birçok üzerinde "
    "hem nin ın bazı şu ki olur eder sayı eşittir toplam",
    "id": "apa bagaimana berapa mengapa tentang yang dan di itu dengan untuk tidak ini dari dalam akan pada juga "
    "saya adalah ke karena bisa ada oleh kita atau anda dapat tersebut seperti lebih telah sebagai beberapa "
    "sangat mereka secara banyak harus tanpa jumlah angka sama maka",
    "vi": "gì nào bao nhiêu tại sao hãy viết và của là có trong được cho không với các một này đã để những người "
    "khi đó số tổng bằng như từ về thể bạn ra vào nhiều cũng nếu hoặc đến sẽ trên tôi",
    "ro": "este și în nu la cu pe de care din pentru sunt mai că un o a al ale dar ce au fost sau acest numărul suma",
    "fi": "ja on ei se että oli hän mutta ovat kun niin kuin myös jos tai tämä luku summa",
    "cs": "je se na že to jsou jako ale pro tak by nebo když jeho který která v a i s číslo součet",
    "hu": "és hogy nem az egy is van ez csak meg már de ha mint volt vagy a szám összeg",
    "ru": "во со об почему какой какая какие сколько кто и в не на что с по это как из у за от так для то но же все "
    "или если мы он она они его их при также может быть был была было чтобы который которые когда где есть "
    "более этот эта эти равно число сумма",
    "uk": "чому який скільки хто і в не на що з по це як із у за від так для то але ж все або якщо ми він вона вони "
    "його їх при також може бути був була було щоб які коли де є більше цей ця ці та до дорівнює число сума",
    "bg": "и в не на че с по това как от за така да но се или ако ние той тя те го при също може бъде беше който "
    "която които когато където има са е си към най ще този тази тези равно число сума",
    "mk": "и во не на дека со по ова како од за така да но се или ако ние тој таа тие го при исто може биде беше "
    "кој која кои кога каде има е си кон најмногу ќе овој оваа овие еднакво број збир",
    "ar": "كيف لماذا كم ماذا في من على إلى أن هذا هذه التي الذي هو هي كان كانت لا ما مع عن إذا أو ثم بعد قبل كل بين "
    "يمكن حيث لكن يكون ذلك تلك كما أي قد عند غير نحن العدد مجموع يساوي",
    "fa": "در از به که این را با است برای آن یک خود تا بر هم نیز اما یا هر شود شده می باید اگر دو کرد بود های ما "
    "عدد مجموع برابر",
    "ur": "کے میں کی ہے کا اور سے کو نے ہیں کہ پر یہ اس ایک بھی تو نہیں لئے لیے ہو تھا تھے کر جو ان گیا ہم عدد "
    "مجموعہ برابر",
    "hi": "क्या कैसे कितने कितना क्यों के में की है का और से को ने हैं कि पर यह इस एक भी तो नहीं लिए हो था थे कर जो "
    "उन गया हम या अगर होता होती होते आप अपने साथ तक संख्या योग बराबर",
    "mr": "आणि आहे आहेत या हा ही हे तो ती ते च्या मध्ये साठी नाही एक की पण तर किंवा जर आपण होते होता केले करून संख्या बेरीज",
    "ne": "र छ छन् को मा लाई ले यो त्यो पनि हो एक भने गर्न गर्ने तथा वा यदि हामी थियो भएको बाट संख्या योगफल",
}
