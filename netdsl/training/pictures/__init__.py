"""Pictures of a run. `kinds` knows which there are, a module each draws them, `style` alone touches matplotlib."""
