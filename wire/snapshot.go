package wire

// SetSnapshot sets FlagSnapshot in a record whose bytes the caller may change.
func (r Record) SetSnapshot() { r[recFlagsOff] |= byte(FlagSnapshot) }
