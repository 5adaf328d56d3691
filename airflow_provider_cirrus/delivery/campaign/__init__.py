"""
Campaigns, which Cirrus sends by itself: ``audience_file`` checks the file, ``submission`` hands it over once.
"""
