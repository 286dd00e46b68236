"""What the rooms of the page share: templates, events, layout, looks. It knows no room."""
