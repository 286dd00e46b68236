"""What the rooms of the page share: their contract, templates, events, layout, looks. It imports no room."""
