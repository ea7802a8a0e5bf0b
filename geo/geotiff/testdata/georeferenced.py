"""Writes GeoTIFFs that lie on the map in every way, with GDAL. usage: georeferenced.py FOLDER"""

import math
import sys

from osgeo import gdal, osr

gdal.UseExceptions()
gdal.PushErrorHandler("CPLQuietErrorHandler")
folder = sys.argv[1]
W, H = 160, 120


def write(name, srs, transform, point=False, gcps=None, rpc=False, options=()):
    """Hills of two scales, so that a shift by a pixel shows."""
    ds = gdal.GetDriverByName("GTiff").Create("%s/%s.tif" % (folder, name), W, H, 1, gdal.GDT_Byte, list(options))
    if point:
        ds.SetMetadataItem("AREA_OR_POINT", "Point")
    wkt = ""
    if srs:
        s = osr.SpatialReference()
        s.SetFromUserInput(srs)
        wkt = s.ExportToWkt()
        if not gcps:
            ds.SetProjection(wkt)
    if transform:
        ds.SetGeoTransform(transform)
    if gcps:
        ds.SetGCPs([gdal.GCP(x, y, 0, c, r) for c, r, x, y in gcps], wkt)
    if rpc:
        ds.SetMetadata({k: "1" for k in (
            "LINE_OFF SAMP_OFF LAT_OFF LONG_OFF HEIGHT_OFF LINE_SCALE SAMP_SCALE LAT_SCALE LONG_SCALE HEIGHT_SCALE").split()}
            | {k: "0 1" + " 0" * 18 for k in ("LINE_NUM_COEFF", "SAMP_NUM_COEFF")}
            | {k: "1" + " 0" * 19 for k in ("LINE_DEN_COEFF", "SAMP_DEN_COEFF")}, "RPC")
    rows = bytearray()
    for y in range(H):
        for x in range(W):
            v = 120 + 60 * math.sin(x / 9.0) * math.cos(y / 7.0) + 40 * math.sin((x + 2 * y) / 31.0)
            rows.append(max(1, min(255, int(v))))
    ds.GetRasterBand(1).WriteRaster(0, 0, W, H, bytes(rows))


def turned(x, y, size, angle, shear=0.0):
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return (x, size * c, size * (s + shear), y, size * s, -size * c)


write("rotated_utm", "EPSG:32632", turned(533500, 5929500, 10, 30))
write("rotated_point", "EPSG:32632", turned(533500, 5929500, 10, -100), point=True)
write("sheared_mercator", "EPSG:3857", turned(500000, 6800000, 20, 10, 0.3))
write("rotated_degrees", "EPSG:4326", turned(10, 50, 0.01, 45))
write("south_up", "EPSG:4326", (10, 0.01, 0, 48, 0, 0.01))
write("south_up_point", "EPSG:25832", (500000, 30, 0, 5500000, 0, 30), point=True)
write("mirrored", "EPSG:3857", (500000, -20, 0, 6800000, 0, -20))
write("oblong", "EPSG:3857", (500000, 50, 0, 6800000, 0, -10))
write("oblong_point", "EPSG:4326", (10, 0.02, 0, 48, 0, -0.005), point=True)
write("dateline_degrees", "EPSG:4326", (179.2, 0.01, 0, -16, 0, -0.01))
write("dateline_utm", "EPSG:32760", (800000, 500, 0, 8200000, 0, -500))
write("degrees_to_360", "EPSG:4326", (200, 0.01, 0, 20, 0, -0.01))
write("lambert_france", "EPSG:2154", (650000, 100, 0, 6860000, 0, -100))
write("albers_usa", "EPSG:5070", (500000, 500, 0, 1900000, 0, -500))
write("poland", "EPSG:2180", turned(600000, 500000, 50, 15))

ring = [(0, 0, 10, 50), (W, 0, 11, 50.1), (W, H, 11.1, 49), (0, H, 10.1, 49), (80, 60, 10.6, 49.5)]
write("bad_gcps", "EPSG:4326", None, gcps=ring)
write("bad_gcps_no_crs", "", None, gcps=ring)
write("bad_rpc", "", None, rpc=True, options=["PROFILE=GDALGeoTIFF", "RPB=NO"])
write("bad_no_crs", "", (10, 0.01, 0, 48, 0, -0.01))
write("bad_no_place", "EPSG:4326", None)
write("bad_mars", "+proj=longlat +a=3396190 +b=3376200 +no_defs", (10, 0.01, 0, 48, 0, -0.01))
write("bad_moon", "+proj=eqc +R=1737400 +units=m +no_defs", (0, 100, 0, 0, 0, -100))
write("bad_own_system", "+proj=laea +lat_0=45 +lon_0=9 +ellps=WGS84 +units=m +no_defs", (0, 100, 0, 0, 0, -100))
write("bad_krovak", "EPSG:5514", (-700000, 100, 0, -1000000, 0, -100))
