"""Reading what users bring and writing what labelfree makes: bounded, checked, atomic."""
