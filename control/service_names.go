package control

// The services, by their names on the bus.
const (
	ServiceDeck     = "deck"
	ServiceTapes    = "tapes"
	ServiceRecorder = "recorder"
	ServiceReaders  = "readers"
	ServiceStatus   = "status"
	ServiceJob      = "job"
	ServicePair     = "pair" // on a bus of its own: docs/CONTROL.md, section 15
	// Workers of jobs: the command run, with the job's Args.
	ServiceJobImport = "job.import"
	ServiceJobExport = "job.export"
	ServiceJobRecord = "job.record"
)

// BusDefault is the endpoint of the broker where none is said.
const BusDefault = "tcp://127.0.0.1:7400"
