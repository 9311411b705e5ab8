package titanic

const killDir = "TAPEDECK_TEST_TITANIC_DIR"

func serveUntilKilled(dir string) { panic(dir) }
