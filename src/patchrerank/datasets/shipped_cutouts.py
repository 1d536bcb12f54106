"""Where whole objects lie in photographs that scikit-image and scikit-learn bring along."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from patchrerank.errors import DatasetError

SUPERSAMPLING = 4


@dataclass(frozen=True)
class Cutout:
    """An object in a photograph, by its outline.

    Attributes:
        name: of the object.
        photo: file name of the photograph.
        outline: corners of a polygon, ``x,y`` in pixels, set apart by spaces.
        disc: ``(x0, y0, x1, y1)`` in pixels around an ellipse, in place of ``outline``.
    """

    name: str
    photo: str
    outline: str = ""
    disc: tuple[int, int, int, int] | None = None

    def cut(self, photo: Image.Image) -> Image.Image:
        """Return the object alone, RGBA, cropped to its box.

        Raises:
            DatasetError: the photograph is too small to be the one that was outlined.
        """
        points = self._points()
        low, high = points.min(axis=0), points.max(axis=0)
        width, height = high - low
        if (high > photo.size).any():
            raise DatasetError(
                f"{self.photo} is {photo.width} × {photo.height} pixels, smaller than the one that "
                f"{self.name} is cut out of; install the version in [demo]"
            )
        large = Image.new("L", (int(width) * SUPERSAMPLING, int(height) * SUPERSAMPLING), 0)
        corners = ((points - low) * SUPERSAMPLING).reshape(-1).tolist()
        ImageDraw.Draw(large).polygon(corners, fill=255)
        piece = photo.convert("RGB").crop((*low.tolist(), *high.tolist()))
        piece.putalpha(large.resize(piece.size, Image.Resampling.BOX))
        return piece

    def _points(self) -> npt.NDArray[np.int64]:
        """Return the corners ``(N, 2)``, in pixels."""
        if self.disc is None:
            return np.array([corner.split(",") for corner in self.outline.split()], dtype=np.int64)
        low, high = np.array(self.disc[:2]), np.array(self.disc[2:])
        turns = np.linspace(0, 2 * np.pi, 180, endpoint=False)
        circle = np.column_stack([np.cos(turns), np.sin(turns)])
        return np.asarray(np.round((low + high + circle * (high - low)) / 2), dtype=np.int64)


COINS = (
    (315, 156, 380, 218),
    (305, 16, 365, 72),
    (18, 233, 75, 288),
    (144, 236, 201, 288),
    (276, 239, 326, 289),
    (245, 95, 296, 144),
)

CUTOUTS = (
    Cutout(
        "cat",
        "chelsea.png",
        outline=(
            "40,0 33,20 34,60 22,95 20,130 32,165 38,190 52,215 80,240 112,262 150,282 190,292 "
            "215,300 285,300 300,286 318,262 330,235 340,205 352,185 362,160 368,130 366,105 "
            "357,88 352,70 368,62 384,52 394,36 396,15 394,0"
        ),
    ),
    Cutout(
        "cup",
        "coffee.png",
        outline=(
            "225,31 205,44 190,59 179,76 173,98 158,102 130,121 105,145 90,167 77,197 77,231 "
            "75,234 77,247 83,257 88,273 101,297 106,300 112,300 122,313 145,335 170,352 "
            "216,372 259,381 303,382 340,376 371,365 383,366 417,345 447,316 468,281 479,237 "
            "477,202 472,195 471,187 461,161 451,143 416,107 423,75 413,67 405,67 399,71 393,71 "
            "386,61 361,39 342,29 317,21 299,18 269,18 245,23"
        ),
    ),
    Cutout(
        "astronaut",
        "astronaut.png",
        outline=(
            "251,19 227,16 212,22 207,20 156,58 153,68 155,98 157,104 170,117 174,128 180,133 "
            "183,145 179,148 157,150 140,158 129,170 126,189 119,201 65,246 44,282 39,306 "
            "26,342 25,376 19,391 19,418 24,432 23,460 26,484 30,495 37,502 41,511 274,511 "
            "273,410 283,406 291,399 300,385 300,375 312,364 326,356 331,356 336,351 354,348 "
            "360,344 361,329 357,324 356,313 346,292 314,263 303,259 305,243 299,219 288,197 "
            "259,161 266,139 275,134 294,111 300,92 298,69 285,46 284,38 276,31"
        ),
    ),
    Cutout(
        "shuttle",
        "astronaut.png",
        outline=(
            "434,0 408,0 404,6 395,39 391,44 391,51 380,63 381,96 383,107 378,115 378,183 "
            "366,197 358,213 357,221 359,223 375,224 380,229 379,236 370,251 367,265 372,275 "
            "376,279 384,281 394,279 413,282 417,278 425,278 429,274 437,274 439,272 452,273 "
            "453,267 458,262 458,257 454,247 454,234 452,232 452,227 454,225 452,223 452,215 "
            "454,213 452,174 455,67 450,61 445,42 439,36 434,15"
        ),
    ),
    Cutout(
        "dahlia",
        "flower.jpg",
        outline=(
            "319,85 310,85 280,98 263,95 249,99 228,113 214,116 205,126 204,134 195,138 188,148 "
            "189,169 181,170 177,174 178,194 170,200 169,208 170,232 174,239 171,247 172,263 "
            "178,269 186,293 197,304 200,314 219,332 233,338 245,349 270,351 290,359 305,359 "
            "312,356 335,357 370,344 383,334 397,330 405,322 408,309 416,302 417,296 430,280 "
            "430,273 434,269 437,254 443,244 445,212 442,208 440,194 431,182 432,166 427,148 "
            "419,138 411,133 409,124 399,114 388,112 383,105 372,99 359,98 347,92 334,93"
        ),
    ),
    Cutout(
        "retina",
        "retina.jpg",
        outline=(
            "675,6 606,12 548,23 490,39 407,72 341,108 286,145 232,190 187,236 114,332 73,408 "
            "51,461 19,577 10,647 8,726 13,792 25,857 47,934 72,996 108,1064 145,1120 236,1220 "
            "276,1254 353,1306 470,1360 537,1380 608,1394 735,1400 796,1395 885,1377 1004,1333 "
            "1054,1307 1117,1265 1182,1211 1224,1168 1294,1075 1333,1003 1357,947 1380,872 "
            "1393,807 1400,733 1400,673 1395,611 1383,543 1355,453 1304,347 1254,274 1207,220 "
            "1229,191 1221,178 1169,131 1160,132 1141,154 1133,154 1039,91 994,68 919,39 800,12"
        ),
    ),
    Cutout("turtle", "logo.png", disc=(10, 10, 492, 490)),
    Cutout("ball", "color.png", disc=(16, 16, 356, 356)),
    Cutout("page", "page.png", "4,0 380,0 384,4 384,187 380,191 4,191 0,187 0,4"),
    *(Cutout(f"coin{n}", "coins.png", disc=box) for n, box in enumerate(COINS, start=1)),
)
"""Nothing of an object shows in another one's outline."""
