"""Loads the layer definition of a running Tilescout into QGIS without a window, and says what it holds.

    QT_QPA_PLATFORM=offscreen /usr/bin/python3 examples/qgis/check.py http://localhost:8080 demo stadium

Needs the Debian package python3-qgis. Exit status 1 when a layer is not valid or draws nothing.
"""

import sys
import tempfile
import urllib.parse
import urllib.request

from qgis.core import (
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsLayerDefinition,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsProject,
    QgsRectangle,
)
from qgis.PyQt.QtCore import QSize


def main(server: str, layer: str, prompt: str) -> int:
    QgsApplication.setPrefixPath("/usr", True)
    app = QgsApplication([], False)
    app.initQgis()
    address = f"{server}/qgis/{layer}.qlr?q={urllib.parse.quote(prompt)}"
    with urllib.request.urlopen(address) as answer, tempfile.NamedTemporaryFile(suffix=".qlr", delete=False) as file:
        file.write(answer.read())
    project = QgsProject.instance()
    loaded, message = QgsLayerDefinition.loadLayerDefinition(file.name, project, project.layerTreeRoot())
    if not loaded:
        print(f"not loaded: {message}")
        return 1
    failed = 0
    layers = project.layerTreeRoot().layerOrder()  # top first
    for found in layers:
        count = found.featureCount() if hasattr(found, "featureCount") else "-"
        print(f"{found.name()}: {found.providerType()}, valid {found.isValid()}, features {count}")
        failed += not found.isValid()
    with urllib.request.urlopen(f"{server}/tiles/{layer}.json") as answer:
        west, south, east, north = __import__("json").load(answer)["bounds"]
    settings = QgsMapSettings()
    settings.setLayers(layers)
    settings.setDestinationCrs(QgsCoordinateReferenceSystem("EPSG:4326"))
    settings.setExtent(QgsRectangle(west, south, east, north))
    settings.setOutputSize(QSize(600, 500))
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    image = job.renderedImage()
    colours = {image.pixel(x, y) for x in range(0, 600, 20) for y in range(0, 500, 20)}
    print(f"drawn: {len(colours)} colours at {30 * 25} places")
    if len(sys.argv) > 4:
        image.save(sys.argv[4])
    return 1 if failed or not layers or len(colours) < 20 else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
