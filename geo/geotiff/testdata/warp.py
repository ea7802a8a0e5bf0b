"""Warps files with GDAL: reads one JSON object a line (path, out, box, width, height, method), writes raw pixels.

The output is pixel-interleaved, the last band alpha, in the type of the file.
"""

import json
import sys

from osgeo import gdal

gdal.UseExceptions()
gdal.PushErrorHandler("CPLQuietErrorHandler")
for line in sys.stdin:
    job = json.loads(line)
    ds = gdal.Open(job["path"])
    if job.get("rgb"):  # leaves out a band that is tagged alpha and is none
        ds = gdal.Translate("", ds, format="VRT", bandList=[1, 2, 3])
    gdal.Warp(
        job["out"], ds, format="ENVI", dstSRS="EPSG:3857", outputBounds=job["box"], width=job["width"], height=job["height"],
        resampleAlg=job["method"], dstAlpha=True, errorThreshold=0, creationOptions=["INTERLEAVE=BIP"],
    ).FlushCache()
