"""Read nuScenes as downloaded, without the devkit, which does not support numpy 2."""
