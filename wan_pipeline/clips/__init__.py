"""Pictures in, clips out: everything that touches image and video files. No torch."""
