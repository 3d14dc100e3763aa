"""Irregular forms of English words: a stemmer knows endings, but not that who "went" did "go"."""

_FORMS = """
    become became | begin began begun | bend bent | bite bit bitten | bleed bled | blow blew blown |
    break broke broken | bring brought | build built | burn burnt | buy bought | catch caught |
    choose chose chosen | come came | creep crept | deal dealt | dig dug | draw drew drawn | dream dreamt |
    drink drank drunk | drive drove driven | eat ate eaten | fall fell fallen | feed fed | feel felt |
    fight fought | find found | flee fled | fly flew flown | forbid forbade forbidden |
    forget forgot forgotten | forgive forgave forgiven | freeze froze frozen | get got gotten |
    give gave given | go went gone | grow grew grown | hang hung | hear heard | hide hid hidden | hold held |
    keep kept | kneel knelt | know knew known | lay laid | lead led | leap leapt | learn learnt | leave left |
    lend lent | lie lain | light lit | lose lost | make made | mean meant | meet met | pay paid |
    prove proven | ride rode ridden | ring rang rung | rise rose risen | run ran | say said | see saw seen |
    seek sought | sell sold | send sent | sew sewn | shake shook shaken | shine shone | shoot shot |
    show shown | shrink shrank shrunk | sing sang sung | sink sank sunk | sit sat | sleep slept | slide slid |
    speak spoke spoken | speed sped | spend spent | spin spun | stand stood | steal stole stolen |
    stick stuck | sting stung | strike struck | string strung | swear swore sworn | sweep swept |
    swim swam swum | swing swung | take took taken | teach taught | tear tore torn | tell told |
    think thought | throw threw thrown | understand understood | wake woke woken | wear wore worn |
    weave wove woven | win won | withdraw withdrew withdrawn | write wrote written | child children |
    foot feet | tooth teeth | mouse mice | goose geese | life lives | wife wives | knife knives | leaf leaves |
    half halves | shelf shelves | self selves | wolf wolves | good better best | bad worse worst
"""
_GROUPS = [group.split() for group in _FORMS.split("|")]

BASE_FORM = {form: base for base, *forms in _GROUPS for form in forms}
"""What an irregular form is a form of, lower case; regular words are not in it."""
