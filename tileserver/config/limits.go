package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Limits bound what the server spends, on strangers' files and on strangers' requests. A key left out or 0 means the
// default; the default and the most that a key may say stand in its tag, and docs/operations.md lists both. A tag
// default:"-" means that the default depends on the machine.
type Limits struct {
	Connections int           `yaml:"connections" default:"4096" most:"1000000"` // open at once
	CacheMB     int           `yaml:"cacheMB" default:"64" most:"1048576"`       // tiles kept in memory, in 2^20 bytes
	DrainDelay  time.Duration `yaml:"drainDelay" default:"0s" most:"10m"`        // between "not ready" and closing at shutdown
	MemoryMB    int           `yaml:"memoryMB" default:"-" most:"1048576"`       // decoded pictures and blocks in flight, all formats

	Raster    Raster    `yaml:"raster"`
	Picture   Picture   `yaml:"picture"`
	Archive   Archive   `yaml:"archive"`
	Upstream  Upstream  `yaml:"upstream"`
	Requests  Requests  `yaml:"requests"`
	Rate      Rate      `yaml:"rate"`
	Admission Admission `yaml:"admission"`
}

// Raster bounds a GeoTIFF, and a folder or list of them.
type Raster struct {
	IFDs         int           `yaml:"ifds" default:"256" most:"4096"`        // image directories of a file
	Tags         int           `yaml:"tags" default:"512" most:"4096"`        // tags of a directory
	TagMB        int           `yaml:"tagMB" default:"64" most:"1024"`        // all tag values held in memory
	ValueKB      int           `yaml:"valueKB" default:"1024" most:"65536"`   // one tag value that is no offset array
	GeoKeys      int           `yaml:"geoKeys" default:"4096" most:"65535"`   // keys of the georeference
	TextKB       int           `yaml:"textKB" default:"64" most:"1024"`       // their text
	BlockSide    int           `yaml:"blockSide" default:"8192" most:"65536"` // pixels a side of a tile or strip
	BlockMB      int           `yaml:"blockMB" default:"64" most:"256"`       // a tile or strip, packed or decoded
	Samples      int           `yaml:"samples" default:"64" most:"64"`        // of a pixel
	TableKB      int           `yaml:"tableKB" default:"64" most:"1024"`      // JPEG tables
	Scans        int           `yaml:"scans" default:"64" most:"1000"`        // of a JPEG tile or strip
	WindowMB     int           `yaml:"windowMB" default:"8" most:"128"`       // that ZSTD may look back
	RenderMB     int           `yaml:"renderMB" default:"512" most:"16384"`   // decoded blocks that one tile may need
	CacheMB      int           `yaml:"cacheMB" default:"64" most:"1048576"`   // decoded blocks kept, all files together
	Deadline     time.Duration `yaml:"deadline" default:"5s" most:"5m"`       // to render one tile
	Files        int           `yaml:"files" default:"50000" most:"1000000"`  // of a folder or list
	OpenFiles    int           `yaml:"openFiles" default:"64" most:"4096"`    // of them open at once
	FilesPerTile int           `yaml:"filesPerTile" default:"64" most:"4096"` // zooms that need more are left out
}

// Picture bounds one PNG, JPEG or WebP from an upstream or an archive, and a photograph that is a layer of its own.
type Picture struct {
	Side       int `yaml:"side" default:"1024" most:"4096"`                 // pixels
	MB         int `yaml:"mb" default:"8" most:"64"`                        // encoded
	Scans      int `yaml:"scans" default:"64" most:"1000"`                  // of a JPEG
	FilePixels int `yaml:"filePixels" default:"40000000" most:"1000000000"` // of a photograph (picture:FILE)
	FileMB     int `yaml:"fileMB" default:"256" most:"65536"`               // of its file
}

// Archive bounds MBTiles and PMTiles.
type Archive struct {
	DirectoryMB      int           `yaml:"directoryMB" default:"32" most:"4096"`               // PMTiles leaf directories kept
	OneDirectoryMB   int           `yaml:"oneDirectoryMB" default:"16" most:"256"`             // one of them, packed or unpacked
	DirectoryEntries int           `yaml:"directoryEntries" default:"1048576" most:"16777216"` // of one of them
	DirectoryDepth   int           `yaml:"directoryDepth" default:"3" most:"8"`                // one in the other
	MetadataMB       int           `yaml:"metadataMB" default:"4" most:"64"`                   // of PMTiles
	TileMB           int           `yaml:"tileMB" default:"8" most:"64"`                       // of PMTiles, packed or unpacked
	ValueMB          int           `yaml:"valueMB" default:"4" most:"64"`                      // anything that MBTiles hold or make up
	InflatedMB       int           `yaml:"inflatedMB" default:"16" most:"256"`                 // a gzip'ed tile of MBTiles, unpacked
	Connections      int           `yaml:"connections" default:"4" most:"64"`                  // to one MBTiles file, which is also reads at once
	Deadline         time.Duration `yaml:"deadline" default:"400ms" most:"1m"`                 // for one look-up in MBTiles
	OpenTime         time.Duration `yaml:"openTime" default:"400ms" most:"1m"`                 // for what is asked of MBTiles at opening
}

// Upstream bounds one answer of another server, and what of remote files is kept.
type Upstream struct {
	Timeout          time.Duration `yaml:"timeout" default:"20s" most:"5m"`                    // for a tile or a document, with waiting and retries
	BlocksMB         int           `yaml:"blocksMB" default:"64" most:"1048576"`               // of GeoTIFF and PMTiles behind URLs kept, all together
	DocumentMB       int           `yaml:"documentMB" default:"10" most:"256"`                 // capabilities, TileJSON
	DocumentDepth    int           `yaml:"documentDepth" default:"64" most:"1000"`             // elements in one another
	DocumentElements int           `yaml:"documentElements" default:"400000" most:"100000000"` // of XML
	DocumentLayers   int           `yaml:"documentLayers" default:"10000" most:"1000000"`      // listed
}

// Requests bounds one request.
type Requests struct {
	URLBytes      int           `yaml:"urlBytes" default:"8192" most:"65536"`
	Parameters    int           `yaml:"parameters" default:"32" most:"1000"`
	HeaderKB      int           `yaml:"headerKB" default:"16" most:"1024"`
	BodyMB        int           `yaml:"bodyMB" default:"8" most:"256"`
	HeaderTimeout time.Duration `yaml:"headerTimeout" default:"5s" most:"5m"`   // to send the headers
	BodyTimeout   time.Duration `yaml:"bodyTimeout" default:"15s" most:"1h"`    // to send the whole request
	TileTimeout   time.Duration `yaml:"tileTimeout" default:"60s" most:"1h"`    // to make and to take a tile
	AnswerTimeout time.Duration `yaml:"answerTimeout" default:"90s" most:"24h"` // the same for other answers
}

// Rate bounds one client, as a budget of costs (docs/operations.md).
type Rate struct {
	PerSecond int  `yaml:"perSecond" default:"2000" most:"1000000000"`
	Burst     int  `yaml:"burst" default:"20000" most:"1000000000"`
	Loopback  bool `yaml:"loopback"` // limit clients on this machine too
	Off       bool `yaml:"off"`
}

// Admission bounds work at once, by class of cost.
type Admission struct {
	Render Gate `yaml:"render"`
	Fetch  Gate `yaml:"fetch"`
	Text   Gate `yaml:"text"`
	Embed  Gate `yaml:"embed"`
	Search Gate `yaml:"search"`
}

// Gate bounds one class. 0 means the default of its class.
type Gate struct {
	Places int           `yaml:"places" default:"-" most:"100000"` // at work at once
	Queue  int           `yaml:"queue" default:"-" most:"1000000"` // waiting
	Wait   time.Duration `yaml:"wait" default:"-" most:"10m"`      // at most
}

// check returns the path of the first limit that is out of bounds, and why.
func (l Limits) check() (path string, err error) {
	EachLimit(l, func(key string, value reflect.Value, tag reflect.StructTag) bool {
		most := tag.Get("most")
		if most == "" {
			return true
		}
		if value.Type() == durationType {
			bound, bad := time.ParseDuration(most)
			if d := time.Duration(value.Int()); bad != nil || d < 0 || d > bound {
				path, err = "limits."+key, fmt.Errorf("limits.%s: %v: want 0s to %s", key, d, most)
			}
			return err == nil
		}
		bound, bad := strconv.ParseInt(most, 10, 64)
		if n := value.Int(); bad != nil || n < 0 || n > bound {
			path, err = "limits."+key, fmt.Errorf("limits.%s: %d: want 0 to %s", key, n, most)
		}
		return err == nil
	})
	return path, err
}

// EachLimit visits the keys of Limits below limits, like raster.ifds, until f returns false.
func EachLimit(l Limits, f func(key string, value reflect.Value, tag reflect.StructTag) bool) {
	eachLimit(reflect.ValueOf(l), "", f)
}

func eachLimit(v reflect.Value, path string, f func(string, reflect.Value, reflect.StructTag) bool) bool {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		key := strings.TrimPrefix(path+"."+field.Tag.Get("yaml"), ".")
		if v.Field(i).Kind() == reflect.Struct {
			if !eachLimit(v.Field(i), key, f) {
				return false
			}
		} else if !f(key, v.Field(i), field.Tag) {
			return false
		}
	}
	return true
}
