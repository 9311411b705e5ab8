package export

func checkPacketOptions(string, *Config) error { return nil }
