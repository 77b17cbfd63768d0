"""Writers of rooms and streets in the layouts of ScanNet, nuScenes and nuImages."""
