import "leaflet/dist/leaflet.css";
import "./css/main.css";
import { Api } from "./api";
import { App } from "./App";

const root = document.getElementById("tilescout");
if (root) {
  // Everything is asked for relative to the page, so that it works behind any path prefix.
  void new App(root, new Api(new URL(".", document.baseURI).href, new URLSearchParams(location.search).get("key") ?? "")).start();
}
