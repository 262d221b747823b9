"""NumPy functions that several layers share; they are copied into emitted modules. Only numpy is imported here."""
