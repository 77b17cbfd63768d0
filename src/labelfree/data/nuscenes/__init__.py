"""nuScenes as it was downloaded, read without the devkit, which forbids numpy 2."""
