/** Where a place is, in words. */

const EARTH_RADIUS = 6371008.8; // metres, mean (IUGG)
const WINDS = ["north", "north-east", "east", "south-east", "south", "south-west", "west", "north-west"];
const FAR = 500_000; // metres; beyond it, a direction says less than coordinates

const rad = (degrees: number) => (degrees * Math.PI) / 180;

/** distance returns the great-circle distance of two [lon, lat] in metres. */
export function distance(a: readonly [number, number], b: readonly [number, number]): number {
  const dLat = rad(b[1] - a[1]);
  const dLon = rad(b[0] - a[0]);
  const h = Math.sin(dLat / 2) ** 2 + Math.cos(rad(a[1])) * Math.cos(rad(b[1])) * Math.sin(dLon / 2) ** 2;
  return 2 * EARTH_RADIUS * Math.asin(Math.min(1, Math.sqrt(h)));
}

/** wind returns the direction from a to b, both [lon, lat], as one of eight words. */
export function wind(a: readonly [number, number], b: readonly [number, number]): string {
  const dLon = rad(b[0] - a[0]);
  const y = Math.sin(dLon) * Math.cos(rad(b[1]));
  const x = Math.cos(rad(a[1])) * Math.sin(rad(b[1])) - Math.sin(rad(a[1])) * Math.cos(rad(b[1])) * Math.cos(dLon);
  const eighth = Math.round(Math.atan2(y, x) / (Math.PI / 4));
  return WINDS[(eighth + 8) % 8] ?? "";
}

/** formatDistance returns metres with two significant figures: 40 m, 420 m, 1.2 km, 12 km. */
export function formatDistance(metres: number): string {
  if (metres < 995) {
    return `${metres < 100 ? Math.max(10, Math.round(metres / 10) * 10) : Math.round(metres / 10) * 10} m`;
  }
  const km = metres / 1000;
  return `${km < 9.95 ? km.toFixed(1) : Math.round(km)} km`;
}

/** formatCoordinates returns a [lon, lat] as "52.3702° N, 4.8952° E". */
export function formatCoordinates([lon, lat]: readonly [number, number]): string {
  const part = (value: number, plus: string, minus: string) => `${Math.abs(value).toFixed(4)}° ${value < 0 ? minus : plus}`;
  return `${part(lat, "N", "S")}, ${part(lon, "E", "W")}`;
}

/** placeInWords says where a place lies, seen from the centre of the view; both are [lon, lat], near in metres. */
export function placeInWords(center: readonly [number, number], place: readonly [number, number], near = 60): string {
  const metres = distance(center, place);
  if (metres < near) {
    return "At the centre";
  }
  if (metres > FAR) {
    return formatCoordinates(place);
  }
  return `${formatDistance(metres)} ${wind(center, place)}`;
}
