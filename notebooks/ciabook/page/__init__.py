"""What a page of the book is made of: parameters, progress, plots, explorers."""
