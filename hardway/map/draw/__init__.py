"""The map on paper: an SVG picture, or an HTML page that holds it and its tables."""

from hardway.map.draw.html import map_html
from hardway.map.draw.svg import map_svg

__all__ = ["map_html", "map_svg"]
