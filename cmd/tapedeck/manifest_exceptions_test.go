package main

// exceptionKey names one number that info gives.
type exceptionKey struct{ file, key string }

// exception is where what we say is not the manifest's fact, by design.
type exception struct {
	want int64
	why  string
}

const (
	oneSymbol = "a topic is a symbol, and this one had two instrument ids, one after the other"
	system    = "system events have no symbol: one topic more, @system"

	deep10  = "iex-pcap/DEEP10.pcap.gz"
	cme6    = "cme-mdp3-pcap/Cme.Mdp3.Sbe.v6.1.pcap"
	cme9    = "cme-mdp3-pcap/Cme.Mdp3.Sbe.v9.1.Example.pcap"
	nyse    = "nyse-xdp-pcap/Nyse.ImbalancesFeed.v2.1.f.Example.pcap"
	ice     = "ice-impact-pcap/Ice.Mdf.iMpact.v1.1.33.Example.pcap"
	cboe    = "cboe-pitch-pcap/Cboe.Futures.DepthOfBook.Pitch.v1.1.6.pcap"
	binance = "jsonl-binance/usdm-btcusdt_20240808.gz"
)

// exceptions are all such places; TestManifest fails over one that is not needed.
var exceptions = map[exceptionKey]exception{
	{"dbn/databento-dbn/test_data.definition.dbn", "topics"}:        {1, oneSymbol},
	{"dbn/databento-dbn/test_data.definition.v1.dbn.zst", "topics"}: {1, oneSymbol},
	{"dbn/databento-dbn/test_data.definition.v2.dbn.zst", "topics"}: {1, oneSymbol},
	{"dbn/databento-dbn/test_data.definition.v3.dbn.zst", "topics"}: {1, oneSymbol},

	{"iex-pcap/tops.v1.5-OperationalHaltStatusMessage.pcap", "topics"}: {2, system},
	{"iex-pcap/tops.v1.5-SystemEventMessage.pcap", "topics"}:           {1, system},
	{deep10, "topics"}:             {7803, system},
	{deep10, "first_receive_time"}: {1493132621841584000, "the capture begins with heartbeats, which are no records"},

	{cme6, "topics"}: {114, "securities that come only beside others have no topic: such messages go to that of their channel"},
	{cme9, "topics"}: {30, "securities that come only beside others have no topic: such messages go to those of their channels"},

	{nyse, "topics"}:           {222, "the sequence number reset is about no symbol: one topic more, @system"},
	{nyse, "first_event_time"}: {1506694780864925661, "event time is the message's source time, not the packet's send time"},
	{nyse, "last_event_time"}:  {1504814786548378000, "event time is the message's source time, and this capture replays a day 22 days before it"},

	{ice, "topics"}:             {2584, "bundle markers are about no market: one topic more, of the channel"},
	{ice, "first_event_time"}:   {1534845600696e6, "the first packet is a heartbeat, which is no record"},
	{ice, "first_receive_time"}: {1534845600696608111, "the first packet is a heartbeat, which is no record"},

	{cboe, "topics"}:           {536, "orders and trading status are of 308 symbols more than are defined here, and time messages of two units"},
	{cboe, "first_event_time"}: {1556745005580879000, "event time is the feed's own; that of a definition is when it was made"},
	{cboe, "last_event_time"}:  {1556745005443443000, "event time is the feed's own; that of a definition is when it was made"},

	{binance, "topics"}:           {4, "a topic is a stream of the symbol, and one answer is of none"},
	{binance, "first_event_time"}: {1723161256298e6, "event time is the exchange's time in the JSON, not the local time before it"},
	{binance, "last_event_time"}:  {1723161601054e6, "event time is the exchange's time in the JSON, not the local time before it"},
}
