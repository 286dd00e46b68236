"""The gallery: an index of the clips folder, to search, star, annotate and bin clips."""

from wan_pipeline.clips.gallery.clip import MAX_RATING, Clip, Facets, GalleryPage, GalleryQuery
from wan_pipeline.clips.gallery.gallery import Gallery

__all__ = ["MAX_RATING", "Clip", "Facets", "Gallery", "GalleryPage", "GalleryQuery"]
