"""What the verifiers of code and of SQL share: finding the code in an answer, its tests in a prompt's row, comparing output."""
