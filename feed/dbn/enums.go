package dbn

import "strconv"

// Numbers of the schemas and symbology types that code here asks for; the tables
// below hold all.
const (
	schemaTBBO = 3

	stypeInstrumentID = 0
	stypeRawSymbol    = 1
)

// schemaNames are the schemas ("Schema" in the DBN specification) by number.
var schemaNames = [...]string{
	"mbo", "mbp-1", "mbp-10", "tbbo", "trades",
	"ohlcv-1s", "ohlcv-1m", "ohlcv-1h", "ohlcv-1d",
	"definition", "statistics", "status", "imbalance", "ohlcv-eod",
	"cmbp-1", "cbbo-1s", "cbbo-1m", "tcbbo", "bbo-1s", "bbo-1m",
}

// stypeNames are the symbology types ("SType") by number.
var stypeNames = [...]string{
	"instrument_id", "raw_symbol", "smart", "continuous", "parent",
	"nasdaq_symbol", "cms_symbol", "isin", "us_code",
	"bbg_comp_id", "bbg_comp_ticker", "figi", "figi_ticker",
}

// schemaName returns the schema's name, its number where it has none, and ""
// where the head says that schemas are mixed.
func schemaName(n uint16) string {
	switch {
	case n == nullSchema:
		return ""
	case int(n) < len(schemaNames):
		return schemaNames[n]
	}
	return strconv.Itoa(int(n))
}

// stypeName is schemaName for symbology types.
func stypeName(n uint8) string {
	switch {
	case n == nullSType:
		return ""
	case int(n) < len(stypeNames):
		return stypeNames[n]
	}
	return strconv.Itoa(int(n))
}

// fallbackDataset is the dataset of a fragment's records where nothing else
// names one.
const fallbackDataset = "DBN"

// publisherDatasetMax is the length of the longest name in the list below.
const publisherDatasetMax = len("EQUS.SUMMARY")

// publisherDataset returns the dataset that a publisher id belongs to, by
// Databento's published list of publishers, or fallbackDataset. It is asked only
// where no file head names the dataset. Publishers whose dataset was renamed
// are left out on purpose.
func publisherDataset(id uint16) string {
	switch {
	case id >= 20 && id <= 37, id == 61:
		return "OPRA.PILLAR"
	case id >= 39 && id <= 42, id == 59:
		return "DBEQ.BASIC"
	}
	if int(id) < len(publisherDatasets) && publisherDatasets[id] != "" {
		return publisherDatasets[id]
	}
	return fallbackDataset
}

var publisherDatasets = [...]string{
	1: "GLBX.MDP3",
	2: "XNAS.ITCH", 3: "XBOS.ITCH", 4: "XPSX.ITCH",
	5: "BATS.PITCH", 6: "BATY.PITCH", 7: "EDGA.PITCH", 8: "EDGX.PITCH",
	9: "XNYS.PILLAR", 10: "XCIS.PILLAR", 11: "XASE.PILLAR", 12: "XCHI.PILLAR",
	15: "MEMX.MEMOIR", 16: "EPRL.DOM",
	38: "IEXG.TOPS", 43: "ARCX.PILLAR",
	57: "IFEU.IMPACT", 58: "NDEX.IMPACT", 84: "IFEU.IMPACT", 85: "NDEX.IMPACT",
	81: "XNAS.BASIC", 82: "XNAS.BASIC", 83: "XNAS.BASIC", 88: "XNAS.BASIC", 89: "XNAS.BASIC",
	93: "XNAS.BASIC",
	90: "EQUS.SUMMARY", 95: "EQUS.MINI",
	97: "IFUS.IMPACT", 98: "IFUS.IMPACT", 99: "IFLL.IMPACT", 100: "IFLL.IMPACT",
	101: "XEUR.EOBI", 102: "XEEE.EOBI", 103: "XEUR.EOBI", 104: "XEEE.EOBI",
}
