"""How fast, how small and how hard to attack the library is: measured, and compared with another installation."""
