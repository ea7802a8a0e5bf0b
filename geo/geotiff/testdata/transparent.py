"""Writes GeoTIFFs that are transparent in every way, with GDAL. usage: transparent.py FOLDER"""

import math
import struct
import sys

from osgeo import gdal, osr

gdal.UseExceptions()
gdal.PushErrorHandler("CPLQuietErrorHandler")
folder = sys.argv[1]
W, H = 130, 110
srs = osr.SpatialReference()
srs.ImportFromEPSG(3857)
CODES = {gdal.GDT_Byte: "B", gdal.GDT_UInt16: "H", gdal.GDT_Int16: "h", gdal.GDT_Float32: "f", gdal.GDT_Float64: "d"}


def hole(x, y):
    return (x - 70) ** 2 + (y - 50) ** 2 < 900 or x < 20 and y < 40


def write(name, kind, bands, empty, nodata=None, alpha=None, mask=False, sparse=False, overviews=0, options=(), config=(), some=False):
    for k, v in config:
        gdal.SetConfigOption(k, v)
    path = "%s/%s.tif" % (folder, name)
    ds = gdal.GetDriverByName("GTiff").Create(path, W, H, bands, kind, list(options))
    ds.SetProjection(srs.ExportToWkt())
    ds.SetGeoTransform((1000, 10, 0, 5000, 0, -10))
    for b in range(bands):
        band = ds.GetRasterBand(b + 1)
        if nodata is not None:
            band.SetNoDataValue(nodata)
    if mask:
        ds.CreateMaskBand(gdal.GMF_PER_DATASET)
    last = bands - 1 if alpha is not None else -1
    for b in range(bands):
        values = []
        for y in range(H):
            for x in range(W):
                if b == last:
                    v = 0 if hole(x, y) else alpha
                elif not mask and alpha is None and hole(x, y) and not (some and b == 0):
                    v = empty
                else:
                    v = 60 + 20 * b + 30 * math.sin(x / 9.0) * math.cos(y / 8.0)
                values.append(v if CODES[kind] in "fd" else int(v))
        if sparse:  # only blocks with something in them
            band = ds.GetRasterBand(b + 1)
            for by in range(0, H, 16):
                for bx in range(0, W, 16):
                    w, h = min(16, W - bx), min(16, H - by)
                    part = [values[(by + j) * W + bx + i] for j in range(h) for i in range(w)]
                    if any(v != empty for v in part):
                        band.WriteRaster(bx, by, w, h, struct.pack("<%d%s" % (w * h, CODES[kind]), *part))
        else:
            ds.GetRasterBand(b + 1).WriteRaster(0, 0, W, H, struct.pack("<%d%s" % (W * H, CODES[kind]), *values))
    if mask:
        m = bytes(0 if hole(x, y) else 255 for y in range(H) for x in range(W))
        ds.GetRasterBand(1).GetMaskBand().WriteRaster(0, 0, W, H, m)
    ds = None
    if overviews:
        ds = gdal.Open(path, gdal.GA_Update)
        ds.BuildOverviews("NEAREST", [2])
        ds = None
    for k, v in config:
        gdal.SetConfigOption(k, None)


TILED = ["TILED=YES", "BLOCKXSIZE=16", "BLOCKYSIZE=16", "COMPRESS=DEFLATE"]
SPARSE = TILED + ["SPARSE_OK=TRUE"]
INSIDE = [("GDAL_TIFF_INTERNAL_MASK", "YES")]
nan = float("nan")
write("nodata_byte", gdal.GDT_Byte, 1, 0, nodata=0)
write("nodata_byte_rgb", gdal.GDT_Byte, 3, 255, nodata=255, options=TILED)
write("nodata_byte_one_band", gdal.GDT_Byte, 3, 255, nodata=255, some=True)
write("nodata_uint16", gdal.GDT_UInt16, 3, 65535, nodata=65535, options=TILED + ["PREDICTOR=2"])
write("nodata_uint16_planar", gdal.GDT_UInt16, 3, 7, nodata=7, options=TILED + ["INTERLEAVE=BAND"])
write("nodata_int16", gdal.GDT_Int16, 1, -32768, nodata=-32768)
write("nodata_int16_big", gdal.GDT_Int16, 2, -9999, nodata=-9999, options=["ENDIANNESS=BIG", "BIGTIFF=YES"])
write("nodata_float", gdal.GDT_Float32, 1, -3.4028234663852886e38, nodata=-3.4028234663852886e38)
write("nodata_float_short", gdal.GDT_Float32, 3, 1.1 - 1.1 + struct.unpack("<f", struct.pack("<f", 0.1))[0], nodata=0.1, options=TILED + ["PREDICTOR=3"])
write("nodata_nan", gdal.GDT_Float32, 1, nan, nodata=nan, options=TILED)
write("nodata_nan_double", gdal.GDT_Float64, 3, nan, nodata=nan, options=["INTERLEAVE=BAND"])
write("alpha_byte", gdal.GDT_Byte, 4, 0, alpha=255, options=["PHOTOMETRIC=RGB", "ALPHA=YES"])
write("alpha_grey", gdal.GDT_Byte, 2, 0, alpha=255, options=["ALPHA=YES"] + TILED)
write("alpha_uint16", gdal.GDT_UInt16, 4, 0, alpha=65535, options=["PHOTOMETRIC=RGB", "ALPHA=YES"] + TILED)
write("alpha_planar", gdal.GDT_Byte, 4, 0, alpha=255, options=["PHOTOMETRIC=RGB", "ALPHA=YES", "INTERLEAVE=BAND"] + TILED)
write("mask_inside", gdal.GDT_Byte, 3, 0, mask=True, config=INSIDE)
write("mask_inside_tiled", gdal.GDT_Byte, 3, 0, mask=True, config=INSIDE, options=TILED)
write("mask_inside_overview", gdal.GDT_Byte, 3, 0, mask=True, config=INSIDE, options=TILED, overviews=1)
write("mask_inside_jpeg", gdal.GDT_Byte, 3, 0, mask=True, config=INSIDE, options=["COMPRESS=JPEG", "PHOTOMETRIC=YCBCR", "TILED=YES", "BLOCKXSIZE=32", "BLOCKYSIZE=32"])
write("mask_inside_uint16", gdal.GDT_UInt16, 1, 0, mask=True, config=INSIDE, options=TILED)
write("mask_beside", gdal.GDT_Byte, 3, 0, mask=True, config=[("GDAL_TIFF_INTERNAL_MASK", "NO")])
write("mask_beside_float", gdal.GDT_Float32, 1, 0, mask=True, config=[("GDAL_TIFF_INTERNAL_MASK", "NO")], options=TILED)
write("sparse_byte", gdal.GDT_Byte, 3, 0, nodata=0, sparse=True, options=SPARSE)
write("sparse_uint16", gdal.GDT_UInt16, 1, 9, nodata=9, sparse=True, options=SPARSE)
write("sparse_planar", gdal.GDT_Byte, 3, 0, nodata=0, sparse=True, options=SPARSE + ["INTERLEAVE=BAND"])
write("sparse_float", gdal.GDT_Float32, 1, -1, nodata=-1, sparse=True, options=SPARSE)
