"""Writes random valid GeoTIFFs with GDAL, and beside each its samples as GDAL reads them.

usage: random_tiffs.py FOLDER COUNT SEED

For each file i.tif there is i.raw: little-endian doubles, one band after the other, row by row. Prints one line of JSON
per file: name, width, height, bands, whether it is lossy, and the options it was written with.
"""

import json
import random
import struct
import sys

from osgeo import gdal

gdal.UseExceptions()
gdal.PushErrorHandler("CPLQuietErrorHandler")
TYPES = {
    "Byte": (gdal.GDT_Byte, "B", 0, 255),
    "UInt16": (gdal.GDT_UInt16, "H", 0, 65535),
    "Int16": (gdal.GDT_Int16, "h", -32768, 32767),
    "UInt32": (gdal.GDT_UInt32, "I", 0, 2**32 - 1),
    "Int32": (gdal.GDT_Int32, "i", -(2**31), 2**31 - 1),
    "Float32": (gdal.GDT_Float32, "f", -1e4, 1e4),
    "Float64": (gdal.GDT_Float64, "d", -1e4, 1e4),
}
CODECS = ["NONE", "LZW", "DEFLATE", "PACKBITS", "ZSTD", "JPEG", "WEBP"]


def samples(rng, code, lo, hi, width, height, smooth):
    """One band: a slope with noise and a flat part, over the whole range of the type."""
    out = []
    a, b, c = rng.random(), rng.random(), rng.random() * 0.3
    flat = 0 if smooth else rng.randrange(height)
    for y in range(height):
        for x in range(width):
            v = c + (a * x / width + b * y / height) * 0.35
            if not smooth:
                v = 0.5 if y < flat else v + rng.random() * 0.3
            v = lo + v * (hi - lo)
            out.append(v if code in "fd" else min(hi, max(lo, int(v))))
    return struct.pack("<%d%s" % (len(out), code), *out)


def one(rng, i, folder):
    codec = CODECS[i % len(CODECS)]
    lossy = codec in ("JPEG", "WEBP")
    name = "Byte" if lossy else rng.choice(list(TYPES))
    gdt, code, lo, hi = TYPES[name]
    bands = rng.choice([3, 4]) if codec == "WEBP" else rng.choice([1, 3, 4]) if lossy else rng.choice([1, 1, 2, 3, 3, 4, 5])
    width, height = rng.randint(1, 150), rng.randint(1, 110)
    o = ["COMPRESS=" + codec, "BIGTIFF=" + rng.choice(["YES", "NO"]), "ENDIANNESS=" + rng.choice(["LITTLE", "BIG"])]
    planar = bands > 1 and codec != "WEBP" and rng.random() < 0.4
    o.append("INTERLEAVE=" + ("BAND" if planar else "PIXEL"))
    if rng.random() < 0.5:
        o += ["TILED=YES", "BLOCKXSIZE=%d" % (16 * rng.randint(1, 5)), "BLOCKYSIZE=%d" % (16 * rng.randint(1, 5))]
    elif codec == "JPEG":
        o.append("BLOCKYSIZE=%d" % (16 * rng.randint(1, 4)))
    else:
        o.append("BLOCKYSIZE=%d" % rng.randint(1, height))
    nbits = 0
    if name == "Byte" and not lossy and rng.random() < 0.6:
        nbits = rng.randint(1, 7)
    elif name == "UInt16" and rng.random() < 0.5:
        nbits = rng.randint(9, 15)
    elif name == "Float32" and rng.random() < 0.25:
        nbits = 16
    elif name == "Byte" and not lossy and rng.random() < 0.4:
        o.append("PIXELTYPE=SIGNEDBYTE")
        code, lo, hi = "b", -128, 127
    if nbits:
        o.append("NBITS=%d" % nbits)
        if nbits < 16:
            hi = 2**nbits - 1
    if codec in ("LZW", "DEFLATE", "ZSTD"):
        choices = [1]
        if not nbits:
            choices += [2, 2]
        if name.startswith("Float"):
            choices += [3, 3]
        o.append("PREDICTOR=%d" % rng.choice(choices))
    if codec == "JPEG":
        if bands == 3 and not planar and rng.random() < 0.6:
            o.append("PHOTOMETRIC=YCBCR")
        o.append("JPEG_QUALITY=%d" % rng.randint(60, 95))
    elif codec == "WEBP":
        if rng.random() < 0.5:
            o.append("WEBP_LOSSLESS=YES")
            lossy = False
    elif bands >= 3 and rng.random() < 0.5:
        o.append("PHOTOMETRIC=RGB")
    elif bands == 1 and not name.startswith("Float") and rng.random() < 0.3:
        o.append("PHOTOMETRIC=MINISWHITE")
    path = "%s/%d.tif" % (folder, i)
    ds = gdal.GetDriverByName("GTiff").Create(path, width, height, bands, gdt, o)
    for b in range(bands):
        data = samples(rng, code, lo, hi, width, height, lossy)
        ds.GetRasterBand(b + 1).WriteRaster(0, 0, width, height, data, buf_type=gdt)
    ds = None
    ds = gdal.Open(path)
    with open("%s/%d.raw" % (folder, i), "wb") as f:
        for b in range(bands):
            raw = ds.GetRasterBand(b + 1).ReadRaster(buf_type=gdal.GDT_Float64)
            if code == "b":  # this GDAL reads signed bytes as unsigned ones
                values = struct.unpack("<%dd" % (width * height), raw)
                raw = struct.pack("<%dd" % len(values), *[v - 256 if v > 127 else v for v in values])
            f.write(raw)
    print(json.dumps({"name": "%d" % i, "width": width, "height": height, "bands": bands, "lossy": lossy, "type": name, "options": o}))


def main():
    folder, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    rng = random.Random(seed)
    for i in range(count):
        one(rng, i, folder)


main()
