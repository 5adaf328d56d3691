"""
Asking whether a number is on WhatsApp, seldom enough not to be banned: ``guard`` says who may be asked for, ``store``
remembers answers and the day's budget.
"""
