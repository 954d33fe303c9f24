"""isomorph: any clinical brain scan in, a 1 mm T1 MP-RAGE out."""
