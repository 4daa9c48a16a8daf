"""What machines are asked, in one script with many questions, and what their answers mean."""
