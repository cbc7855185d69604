"""The chapters' library, and the program that makes the tables in results/."""
