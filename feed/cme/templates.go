package cme

import (
	"github.com/tapedeck/tapedeck/feed/fixed"
	"github.com/tapedeck/tapedeck/wire"
)

// place says where a template has its security id.
type place uint8

const (
	nowhere place = iota
	inBlock       // at idOff in the block
	inGroup       // at idOff in each entry of the first group
)

// template is what is known about one message template.
type template struct {
	name   string // "" where the template is not known
	kind   wire.Kind
	idIn   place
	idOff  int
	feed   feedKind
	block  []fixed.Field // offsets from the start of the message
	groups []groupLayout // in order
	open   bool          // more is in the message than block and groups say
}

// groupLayout is one repeating group of a template.
type groupLayout struct {
	name   string
	wide   bool
	fields []fixed.Field // offsets from the start of an entry
}

// feedKind is one of the feeds of a channel, each with sequence numbers of its own.
type feedKind uint8

const (
	incremental feedKind = iota
	snapshot
	orderSnapshot
	replay // of definitions
	either // incremental or replay, as TotNumReports says
)

// Offsets of the security id that several templates share.
const (
	snapshotIDOff   = 8
	definitionIDOff = 55
	statusIDOff     = 20
	bookIDOff       = 12
	orderIDOff      = 28
)

const templatesMax = 64

// templates are those of the schema's versions 5 to 13. Prices of the first ones
// have 7 decimals, those from 46 on 9.
var templates = [templatesMax]template{
	4:  {name: "channel_reset", kind: wire.KindSystem, block: eventBlock, groups: []groupLayout{{name: "md_entries", fields: channelEntry}}},
	12: {name: "admin_heartbeat", kind: wire.KindSystem},
	15: {name: "admin_login", kind: wire.KindSystem, block: loginBlock},
	16: {name: "admin_logout", kind: wire.KindSystem, block: logoutBlock},
	30: {name: "security_status", kind: wire.KindStatus, idIn: inBlock, idOff: statusIDOff, block: statusBlock},
	39: {name: "quote_request", kind: wire.KindQuote, idIn: inGroup, idOff: 20, block: requestBlock,
		groups: []groupLayout{{name: "related_sym", fields: requestEntry}}},

	27: definition("md_instrument_definition_future", futureBlock(7), false),
	29: definition("md_instrument_definition_spread", commonBlock(), true),
	41: definition("md_instrument_definition_option", commonBlock(), true),
	54: definition("md_instrument_definition_future", futureBlock(9), false),
	55: definition("md_instrument_definition_option", commonBlock(), true),
	56: definition("md_instrument_definition_spread", commonBlock(), true),

	32: {name: "md_incremental_refresh_book", kind: wire.KindQuote, idIn: inGroup, idOff: bookIDOff, block: eventBlock, groups: bookGroups(7)},
	46: {name: "md_incremental_refresh_book", kind: wire.KindQuote, idIn: inGroup, idOff: bookIDOff, block: eventBlock, groups: bookGroups(9)},
	43: {name: "md_incremental_refresh_order_book", kind: wire.KindOrder, idIn: inGroup, idOff: orderIDOff, block: eventBlock, groups: orderGroups(7)},
	47: {name: "md_incremental_refresh_order_book", kind: wire.KindOrder, idIn: inGroup, idOff: orderIDOff, block: eventBlock, groups: orderGroups(9)},
	42: {name: "md_incremental_refresh_trade_summary", kind: wire.KindTrade, idIn: inGroup, idOff: bookIDOff, block: eventBlock, groups: tradeGroups(7)},
	48: {name: "md_incremental_refresh_trade_summary", kind: wire.KindTrade, idIn: inGroup, idOff: bookIDOff, block: eventBlock, groups: tradeGroups(9)},
	36: {name: "md_incremental_refresh_trade", kind: wire.KindTrade, idIn: inGroup, idOff: bookIDOff, block: eventBlock,
		groups: []groupLayout{{name: "md_entries", fields: oldTradeEntry}}},

	33: {name: "md_incremental_refresh_daily_statistics", kind: wire.KindStatistic, idIn: inGroup, idOff: 12, block: eventBlock, groups: dailyGroups(7)},
	49: {name: "md_incremental_refresh_daily_statistics", kind: wire.KindStatistic, idIn: inGroup, idOff: 12, block: eventBlock, groups: dailyGroups(9)},
	34: {name: "md_incremental_refresh_limits_banding", kind: wire.KindStatus, idIn: inGroup, idOff: 24, block: eventBlock, groups: limitGroups(7)},
	50: {name: "md_incremental_refresh_limits_banding", kind: wire.KindStatus, idIn: inGroup, idOff: 24, block: eventBlock, groups: limitGroups(9)},
	35: {name: "md_incremental_refresh_session_statistics", kind: wire.KindStatistic, idIn: inGroup, idOff: 8, block: eventBlock, groups: sessionGroups(7)},
	51: {name: "md_incremental_refresh_session_statistics", kind: wire.KindStatistic, idIn: inGroup, idOff: 8, block: eventBlock, groups: sessionGroups(9)},
	37: {name: "md_incremental_refresh_volume", kind: wire.KindStatistic, idIn: inGroup, idOff: 4, block: eventBlock,
		groups: []groupLayout{{name: "md_entries", fields: volumeEntry}}},

	38: {name: "snapshot_full_refresh", kind: wire.KindQuote, idIn: inBlock, idOff: snapshotIDOff, feed: snapshot, block: snapshotBlock(7), groups: snapshotGroups(7)},
	52: {name: "snapshot_full_refresh", kind: wire.KindQuote, idIn: inBlock, idOff: snapshotIDOff, feed: snapshot, block: snapshotBlock(9), groups: snapshotGroups(9)},
	44: {name: "snapshot_full_refresh_order_book", kind: wire.KindOrder, idIn: inBlock, idOff: snapshotIDOff, feed: orderSnapshot,
		block: orderSnapshotBlock, groups: orderSnapshotGroups(7)},
	53: {name: "snapshot_full_refresh_order_book", kind: wire.KindOrder, idIn: inBlock, idOff: snapshotIDOff, feed: orderSnapshot,
		block: orderSnapshotBlock, groups: orderSnapshotGroups(9)},
}

func definition(name string, block []fixed.Field, open bool) template {
	t := template{name: name, kind: wire.KindDefinition, idIn: inBlock, idOff: definitionIDOff, feed: either, block: block, open: open}
	if !open {
		t.groups = definitionGroups
	}
	return t
}

var unknownTemplate = template{kind: wire.KindData, open: true}

// layout returns what is known about a message's template.
func (m message) layout() *template {
	id := m.template()
	if m.schema() == schemaID && id < templatesMax && templates[id].name != "" {
		return &templates[id]
	}
	return &unknownTemplate
}
