"""What happens in the Create room: in its forms, and on its stage."""
