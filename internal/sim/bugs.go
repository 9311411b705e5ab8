package sim

// bug is a mistake that a test makes on purpose, at the seam between a scenario and the
// code that it runs, to see that the property that it breaks is looked at.
type bug string

const (
	noBug bug = ""

	bugPairForgets bug = "epochs are not kept"
	bugPairAccepts bug = "passive servers accept requests"
	bugPairDeaf    bug = "active servers do not hear that the other one is active"
	bugPairPast    bug = "answers are said to be of an epoch before"
	bugPairSilent  bug = "servers announce changes alone"

	bugDeckPair   bug = "hellos do not say in which epoch of the pair a deck is active"
	bugDeckBefore bug = "hellos do not say what the epoch before went on with"
	bugDeckCut    bug = "decks go on where they are, and not where readers are"
	bugDeckSkip   bug = "readers handle what repeats"
	bugDeckGap    bug = "readers are not told of gaps"

	bugHealRecord   bug = "servers give the wrong record"
	bugHealResume   bug = "what was saved is not used"
	bugHealGone     bug = "servers say that what they have is gone"
	bugHealSilent   bug = "readers do not say what is lost"
	bugHealComplete bug = "readers say that incomplete epochs are complete"
	bugHealEnd      bug = "readers do not hear of the end"

	bugBusLedger bug = "the service does not look at the replies that it kept"
	bugBusResult bug = "the service tells of another result"
	bugBusSync   bug = "Titanic's disk keeps no records that it says it does"
	bugBusClose  bug = "clients do not close jobs"

	bugBusPairDeaf bug = "active brokers do not hear that the other one is active"

	bugLVCLose     bug = "proxies leave out records"
	bugLVCTwice    bug = "proxies take batches twice"
	bugLVCDropped  bug = "proxies do not count what they drop"
	bugLVCLoud     bug = "proxies that are to be passive go on"
	bugLVCWarm     bug = "proxies begin with a value of which nobody knows"
	bugLVCSnapshot bug = "snapshots have other values than readers are answered with"
	bugLVCGap      bug = "proxies do not hear of gaps"
	bugLVCForgets  bug = "epochs of proxies are not kept"
	bugLVCAgain    bug = "readers of a pair handle what comes twice"
	bugLVCOld      bug = "readers of a pair take older last values"
	bugLVCHad      bug = "passive proxies believe that readers have everything"
	bugLVCIdle     bug = "proxies are not told that they are active"
	bugLVCDeaf     bug = "active proxies do not hear that the other one is active"

	bugMeterWall bug = "lag is counted by the clock that is set"
	bugMeterLag  bug = "the meter sees no messages"
	bugMeterLoss bug = "the meter sees no loss"
)
